package io.portllm.bench.real;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import io.portllm.ModelVersion;
import io.portllm.Tensor;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.LongBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.TreeMap;
import java.util.stream.IntStream;
import java.util.stream.LongStream;

/**
 * BERT in ONNX Runtime: the graph of an ONNX file with every weight replaced by a checkpoint's.
 *
 * <p>Not safe for use by many threads; ONNX Runtime itself uses all processors.
 */
final class BertEncoder implements AutoCloseable {
  private static final int BATCH = 32;

  private final OrtEnvironment environment;
  private final OrtSession session;

  private BertEncoder(OrtEnvironment environment, OrtSession session) {
    this.environment = environment;
    this.session = session;
  }

  /**
   * Loads a graph with a checkpoint's weights; the checkpoint may be closed afterwards.
   *
   * @param onnx the file that has the graph; not changed
   * @throws NoSuchElementException if the checkpoint lacks a weight of the graph
   * @throws IllegalArgumentException if the checkpoint's weight has another type or shape
   */
  static BertEncoder open(Path onnx, ModelVersion checkpoint) throws IOException {
    // The weights are written over in the loaded file: ONNX Runtime then sees an ordinary model, whatever it makes of weights given apart.
    OnnxFile graph = OnnxFile.read(onnx);
    for (OnnxWeight weight : graph.weights()) {
      copy(checkpoint, weight);
    }
    OrtEnvironment environment = OrtEnvironment.getEnvironment();
    try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
      // ONNX Runtime would otherwise send data on its use to its makers.
      environment.setTelemetry(false);
      return new BertEncoder(environment, environment.createSession(graph.bytes(), options));
    } catch (OrtException e) {
      throw new IOException("ONNX Runtime: " + e.getMessage(), e);
    }
  }

  private static void copy(ModelVersion checkpoint, OnnxWeight weight) throws IOException {
    Tensor tensor =
        checkpoint
            .tensor(weight.name())
            .orElseThrow(() -> new NoSuchElementException(checkpoint.name() + " lacks " + weight.name()));
    if (!tensor.info().equals(weight.info())) {
      throw new IllegalArgumentException(checkpoint.name() + " has " + tensor.info() + " for " + weight.info());
    }
    if (weight.transposed()) {
      ByteBuffer values = ByteBuffer.allocate(Math.toIntExact(tensor.info().bytes())).order(ByteOrder.LITTLE_ENDIAN);
      tensor.read(0, values);
      weight.putTransposed(values.flip());
    } else {
      tensor.read(0, weight.data());
    }
  }

  /**
   * The embeddings of token sequences: the last layer's output at the first token, scaled to length 1.
   *
   * @param sequences ids of tokens, as {@link BertTokenizer#encode} gives them
   */
  List<float[]> embed(List<int[]> sequences) throws IOException {
    // Only sequences of one length share a batch, so that none needs padding.
    Map<Integer, List<Integer>> byLength = new TreeMap<>();
    IntStream.range(0, sequences.size())
        .forEach(i -> byLength.computeIfAbsent(sequences.get(i).length, length -> new ArrayList<>()).add(i));
    float[][] embeddings = new float[sequences.size()][];
    for (List<Integer> alike : byLength.values()) {
      for (int start = 0; start < alike.size(); start += BATCH) {
        List<Integer> batch = alike.subList(start, Math.min(start + BATCH, alike.size()));
        float[][] vectors = run(batch.stream().map(sequences::get).toList());
        for (int i = 0; i < vectors.length; i++) {
          embeddings[batch.get(i)] = vectors[i];
        }
      }
    }
    return Arrays.asList(embeddings);
  }

  private float[][] run(List<int[]> batch) throws IOException {
    long[] shape = {batch.size(), batch.get(0).length};
    LongBuffer ids = LongBuffer.allocate(Math.toIntExact(shape[0] * shape[1]));
    batch.forEach(sequence -> Arrays.stream(sequence).forEach(ids::put));
    LongBuffer ones = LongBuffer.wrap(LongStream.generate(() -> 1).limit(ids.capacity()).toArray());
    LongBuffer zeros = LongBuffer.allocate(ids.capacity());
    try (OnnxTensor tokens = OnnxTensor.createTensor(environment, ids.flip(), shape);
        OnnxTensor mask = OnnxTensor.createTensor(environment, ones, shape);
        OnnxTensor types = OnnxTensor.createTensor(environment, zeros, shape);
        OrtSession.Result result = session.run(Map.of("input_ids", tokens, "attention_mask", mask, "token_type_ids", types))) {
      float[][][] hidden = (float[][][]) result.get(0).getValue();
      return Arrays.stream(hidden).map(sequence -> unit(sequence[0])).toArray(float[][]::new);
    } catch (OrtException e) {
      throw new IOException("ONNX Runtime: " + e.getMessage(), e);
    }
  }

  private static float[] unit(float[] vector) {
    double squares = 0;
    for (float value : vector) {
      squares += (double) value * value;
    }
    float[] unit = new float[vector.length];
    for (int i = 0; i < unit.length; i++) {
      unit[i] = (float) (vector[i] / Math.sqrt(squares));
    }
    return unit;
  }

  @Override
  public void close() throws IOException {
    try {
      session.close();
    } catch (OrtException e) {
      throw new IOException("ONNX Runtime: " + e.getMessage(), e);
    }
  }
}
