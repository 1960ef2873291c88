package io.portllm.io.internal.files;

import java.util.List;
import java.util.Locale;

/** Which files of a model folder hold weights, by their names. */
public final class WeightFiles {
  public static final String SAFETENSORS = ".safetensors";

  private static final List<String> PICKLES = List.of(".bin", ".pt", ".pth", ".ckpt");
  private static final List<String> OTHERS = List.of(SAFETENSORS, ".gguf", ".h5", ".msgpack", ".onnx", ".onnx_data");

  private WeightFiles() {}

  /** Whether the name is that of a PyTorch file, which runs code when it is read by Python. */
  public static boolean isPickle(String name) {
    return endsWithOneOf(name, PICKLES);
  }

  /** Whether the name is that of weights in any format, or of an index of weight files. */
  public static boolean isWeights(String name) {
    return isPickle(name) || endsWithOneOf(name, OTHERS) || name.toLowerCase(Locale.ROOT).endsWith(".index.json");
  }

  private static boolean endsWithOneOf(String name, List<String> endings) {
    String lowered = name.toLowerCase(Locale.ROOT);
    return endings.stream().anyMatch(lowered::endsWith);
  }
}
