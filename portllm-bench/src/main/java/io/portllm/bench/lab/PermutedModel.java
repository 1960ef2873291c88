package io.portllm.bench.lab;

import io.portllm.ModelVersion;
import io.portllm.Shard;
import io.portllm.SideFile;
import io.portllm.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.stream.IntStream;

/**
 * A Llama with heads, units of the feed-forward layers, or both in another order: it computes what the original does, but its weights lie
 * elsewhere, so nothing that was learnt for the original's places fits.
 */
final class PermutedModel implements ModelVersion {
  private final ModelVersion model;
  private final String name;
  private final boolean heads;
  private final boolean units;

  PermutedModel(ModelVersion model, String name, boolean heads, boolean units) {
    this.model = model;
    this.name = name;
    this.heads = heads;
    this.units = units;
  }

  @Override
  public void read(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException {
    ByteBuffer all = ByteBuffer.allocate(Math.toIntExact(tensor.bytes()));
    model.read(tensor, 0, all);
    byte[] bytes = all.array();
    int columns = Math.toIntExact(tensor.shape().columns());
    int rows = Math.toIntExact(tensor.shape().rows());
    int[] rowOrder = rowOrder(tensor.name(), rows);
    int[] columnOrder = columnOrder(tensor.name(), columns);
    int size = tensor.dtype().bytes();
    for (long at = offset; destination.hasRemaining(); at++) {
      int element = (int) (at / size);
      int from = rowOrder[element / columns] * columns + columnOrder[element % columns];
      destination.put(bytes[from * size + (int) (at % size)]);
    }
  }

  private int[] rowOrder(String tensor, int rows) {
    if (units && (tensor.contains("gate_proj") || tensor.contains("up_proj"))) {
      return shuffled(rows, layerOf(tensor));
    }
    boolean queries = tensor.contains("q_proj");
    return heads && (queries || tensor.contains("k_proj") || tensor.contains("v_proj")) ? turned(rows, queries ? 4 : 2) : identity(rows);
  }

  private int[] columnOrder(String tensor, int columns) {
    if (units && tensor.contains("down_proj")) {
      return shuffled(columns, layerOf(tensor));
    }
    return heads && tensor.contains("o_proj") ? turned(columns, 4) : identity(columns);
  }

  private static int layerOf(String tensor) {
    return Integer.parseInt(tensor.replaceAll("\\D*(\\d+).*", "$1"));
  }

  private static int[] identity(int count) {
    return IntStream.range(0, count).toArray();
  }

  /** Units in an order that depends on the layer alone, so that rows before and columns after them agree. */
  private static int[] shuffled(int count, int layer) {
    List<Integer> order = new ArrayList<>(IntStream.range(0, count).boxed().toList());
    Collections.shuffle(order, new Random(layer));
    return order.stream().mapToInt(Integer::intValue).toArray();
  }

  /** Heads from last to first; the lab's models have four, and two that keys and values share, so pairs stay together. */
  private static int[] turned(int count, int groups) {
    int size = count / groups;
    return IntStream.range(0, count).map(i -> (groups - 1 - i / size) * size + i % size).toArray();
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public List<Shard> shards() {
    return model.shards();
  }

  @Override
  public List<TensorInfo> tensors() {
    return model.tensors();
  }

  @Override
  public Optional<TensorInfo> find(String tensor) {
    return model.find(tensor);
  }

  @Override
  public Map<String, String> config() {
    return model.config();
  }

  @Override
  public List<SideFile> sideFiles() {
    return model.sideFiles();
  }

  @Override
  public void close() {}
}
