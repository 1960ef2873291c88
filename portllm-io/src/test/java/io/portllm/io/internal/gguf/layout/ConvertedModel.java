package io.portllm.io.internal.gguf.layout;

import com.google.common.base.Splitter;
import com.google.common.hash.Hashing;
import io.portllm.Shape;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.zip.GZIPInputStream;

/**
 * A model of the golden file that {@code tools/golden_gguf_layouts.py} made, which says what llama.cpp's converters make of elements that
 * are numbered.
 *
 * @param config what its configuration says of heads
 * @param numbers what the GGUF metadata says of heads
 * @param checkpoint the Hugging Face tensors
 * @param tensors the GGUF tensors
 * @param digests of the values of these
 * @param factors the tensors of the GGUF adapter that was made of an adapter of rank {@link #RANK}; empty if llama.cpp's converter fails
 * @param factorDigests of the values of these
 */
public record ConvertedModel(
    String name, Map<String, String> config, Map<String, String> numbers, Map<String, Shape> checkpoint, Map<String, Shape> tensors,
    Map<String, String> digests, Map<String, Shape> factors, Map<String, String> factorDigests) {
  /** The rank of the adapters; their alpha is twice as much. */
  public static final int RANK = 3;

  /** All models of the file. */
  public static List<ConvertedModel> all() throws IOException {
    List<ConvertedModel> models = new ArrayList<>();
    try (BufferedReader lines = new BufferedReader(new InputStreamReader(
        new GZIPInputStream(ConvertedModel.class.getResourceAsStream("/golden/gguf-layouts.txt.gz")), StandardCharsets.UTF_8))) {
      lines.lines().map(Splitter.on(' ').limit(4)::splitToList).forEach(line -> add(models, line));
    } catch (UncheckedIOException e) {
      throw e.getCause();
    }
    return models;
  }

  private static void add(List<ConvertedModel> models, List<String> line) {
    String key = line.get(1);
    if (line.get(0).equals("model")) {
      models.add(new ConvertedModel(key, new TreeMap<>(), new TreeMap<>(), new LinkedHashMap<>(), new LinkedHashMap<>(), new TreeMap<>(),
          new LinkedHashMap<>(), new TreeMap<>()));
      return;
    }
    ConvertedModel model = models.get(models.size() - 1);
    String value = line.get(2);
    switch (line.get(0)) {
      case "config" -> model.config.put(key, value);
      case "number" -> model.numbers.put(key, value);
      case "hf" -> model.checkpoint.put(key, shape(value));
      case "gguf" -> {
        model.tensors.put(key, shape(value));
        model.digests.put(key, line.get(3));
      }
      case "lora" -> {
        model.factors.put(key, shape(value));
        model.factorDigests.put(key, line.get(3));
      }
      default -> throw new IllegalStateException(line.get(0));
    }
  }

  private static Shape shape(String dimensions) {
    return Shape.of(Splitter.on(',').splitToStream(dimensions).mapToLong(Long::parseLong).toArray());
  }

  /** The digest of values as the file has it. */
  public static String digest(float[] values) {
    ByteBuffer bytes = ByteBuffer.allocate(values.length * 4).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asFloatBuffer().put(values);
    return Hashing.sha256().hashBytes(bytes.array()).toString().substring(0, 16);
  }

  /** What the GGUF metadata tells. */
  public Hyperparameters hyperparameters() {
    String architecture = numbers.get("general.architecture");
    String heads = architecture + ".attention.head_count";
    return new Hyperparameters(architecture, counts(heads, "4"), counts(heads + "_kv", numbers.getOrDefault(heads, "4")));
  }

  private List<Long> counts(String key, String otherwise) {
    return Splitter.on(',').splitToStream(numbers.getOrDefault(key, otherwise)).map(Long::valueOf).toList();
  }

  /** The numbered elements of the checkpoint's tensors. */
  Map<String, float[]> elements() {
    Map<String, float[]> elements = new TreeMap<>();
    int next = 0;
    for (Map.Entry<String, Shape> tensor : checkpoint.entrySet()) {
      elements.put(tensor.getKey(), numbers(next, tensor.getValue()));
      next += elements.get(tensor.getKey()).length;
    }
    return elements;
  }

  /** Numbers from {@code first} on. */
  public static float[] numbers(int first, Shape shape) {
    float[] values = new float[Math.toIntExact(shape.elements())];
    for (int i = 0; i < values.length; i++) {
      values[i] = first + i;
    }
    return values;
  }

  Layout layout() {
    return (Layout) Layouts.of(hyperparameters(), tensors, checkpoint.keySet());
  }

  @Override
  public String toString() {
    return name;
  }
}
