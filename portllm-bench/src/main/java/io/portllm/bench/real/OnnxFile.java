package io.portllm.bench.real;

import com.google.common.collect.ImmutableList;
import io.portllm.Shape;
import io.portllm.internal.text.Names;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * The float32 weights of an ONNX file that PyTorch exported.
 *
 * <p>An initializer keeps the name of its PyTorch parameter, except for the right-hand sides of MatMul: exporting transposes those
 * and gives them a number, so their names come from the node, {@code /encoder/layer.0/output/dense/MatMul} for
 * {@code encoder.layer.0.output.dense.weight}.
 *
 * @param name the file's name
 * @param bytes its bytes in memory; changing them does not change the file
 * @param weights its weights, sorted by name; views of {@code bytes}
 */
record OnnxFile(String name, ByteBuffer bytes, List<OnnxWeight> weights) {
  private static final int FLOAT = 1;
  private static final int EXTERNAL = 1;

  OnnxFile {
    weights = ImmutableList.copyOf(weights);
  }

  /**
   * Reads a file into memory.
   *
   * @throws IOException if reading failed, the file is no ONNX file, is larger than 2 GB or keeps weights in other files
   */
  static OnnxFile read(Path path) throws IOException {
    String name = path.getFileName().toString();
    try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
      if (channel.size() > Integer.MAX_VALUE) {
        throw new IOException("[" + name + "] must be at most 2147483647 bytes but has " + channel.size());
      }
      ByteBuffer bytes = ByteBuffer.allocateDirect((int) channel.size());
      while (bytes.hasRemaining()) {
        if (channel.read(bytes) < 0) {
          throw new IOException("[" + name + "] became shorter while it was read");
        }
      }
      return of(name, bytes.flip());
    }
  }

  /** The file of this name with these bytes, from position to limit; they stay shared. */
  static OnnxFile of(String name, ByteBuffer bytes) throws IOException {
    return new OnnxFile(name, bytes, parse(name, bytes));
  }

  private static List<OnnxWeight> parse(String source, ByteBuffer file) throws IOException {
    Map<String, Initializer> initializers = new LinkedHashMap<>();
    Map<String, String> names = new LinkedHashMap<>();
    ProtobufReader model = new ProtobufReader(source, file);
    while (model.next()) {
      if (model.field() == 7) {
        ProtobufReader graph = model.message();
        while (graph.next()) {
          switch (graph.field()) {
            case 1 -> readNode(graph.message(), names);
            case 5 -> readInitializer(source, graph.message(), initializers);
            default -> {}
          }
        }
      }
    }
    return weights(source, initializers, names);
  }

  private static List<OnnxWeight> weights(String source, Map<String, Initializer> initializers, Map<String, String> names)
      throws IOException {
    List<OnnxWeight> weights = new ArrayList<>();
    Set<String> seen = new HashSet<>();
    for (Initializer initializer : initializers.values()) {
      String key = initializer.name();
      boolean transposed = names.containsKey(key) && initializer.shape().rank() == 2;
      String name = transposed ? names.get(key) : key;
      if (!seen.add(name)) {
        throw new IOException("[" + source + "] two initializers stand for " + Names.quote(name));
      }
      weights.add(new OnnxWeight(name, key, transposed, initializer.shape(), initializer.data()));
    }
    if (weights.isEmpty()) {
      throw new IOException("[" + source + "] holds no float32 weights");
    }
    weights.sort(Comparator.comparing(OnnxWeight::name));
    return weights;
  }

  /** Remembers for the right-hand side of a MatMul which module the node computes. */
  private static void readNode(ProtobufReader node, Map<String, String> names) throws IOException {
    List<String> inputs = new ArrayList<>();
    String name = "";
    String operator = "";
    while (node.next()) {
      switch (node.field()) {
        case 1 -> inputs.add(node.text());
        case 3 -> name = node.text();
        case 4 -> operator = node.text();
        default -> {}
      }
    }
    if (operator.equals("MatMul") && inputs.size() == 2 && name.startsWith("/") && name.endsWith("/MatMul")) {
      String module = name.substring(1, name.length() - "/MatMul".length()).replace('/', '.');
      names.put(inputs.get(1), module + ".weight");
    }
  }

  private static void readInitializer(String source, ProtobufReader tensor, Map<String, Initializer> initializers) throws IOException {
    List<Long> dimensions = new ArrayList<>();
    ByteBuffer data = ByteBuffer.allocate(0);
    long type = 0;
    long location = 0;
    String name = "";
    while (tensor.next()) {
      switch (tensor.field()) {
        case 1 -> {
          for (long dimension : tensor.varints()) {
            dimensions.add(dimension);
          }
        }
        case 2 -> type = tensor.varint();
        // Packed float_data and raw_data: little-endian floats in each.
        case 4, 9 -> data = tensor.bytes();
        case 8 -> name = tensor.text();
        case 14 -> location = tensor.varint();
        default -> {}
      }
    }
    if (type != FLOAT) {
      return;
    }
    String where = "[" + source + "] initializer " + Names.quote(name) + ": ";
    if (location == EXTERNAL) {
      throw new IOException(where + "its values must be in this file but are in another");
    }
    Shape shape = shape(where, dimensions);
    if (shape.elements() != data.remaining() / 4 || data.remaining() % 4 != 0) {
      throw new IOException(where + "shape " + shape + " of float32 does not fit its " + data.remaining() + " bytes");
    }
    if (initializers.put(name, new Initializer(name, shape, data)) != null) {
      throw new IOException(where + "is there twice");
    }
  }

  private static Shape shape(String where, List<Long> dimensions) throws IOException {
    try {
      return Shape.of(dimensions.stream().mapToLong(Long::longValue).toArray());
    } catch (IllegalArgumentException | ArithmeticException e) {
      throw new IOException(where + e.getMessage(), e);
    }
  }

  private record Initializer(String name, Shape shape, ByteBuffer data) {}
}
