package io.portllm.io.internal.gguf.layout;

import io.portllm.io.internal.gguf.GgufMetadata;
import io.portllm.io.internal.gguf.ValueType;
import java.io.IOException;
import java.util.List;

/** Reads hyperparameters from the metadata of a GGUF file. */
public final class GgufHyperparameters {
  private GgufHyperparameters() {}

  /**
   * The hyperparameters, with no architecture ({@code ""}) if the metadata has none.
   *
   * @throws IOException if the metadata cannot be read, or holds head counts of another type
   */
  public static Hyperparameters of(GgufMetadata metadata) throws IOException {
    String architecture = metadata.architecture().orElse("");
    List<Long> heads = counts(metadata, architecture + ".attention.head_count");
    List<Long> keyValueHeads = counts(metadata, architecture + ".attention.head_count_kv");
    return new Hyperparameters(architecture, heads, keyValueHeads.isEmpty() ? heads : keyValueHeads);
  }

  private static List<Long> counts(GgufMetadata metadata, String key) throws IOException {
    if (metadata.type(key).filter(ValueType.ARRAY::equals).isPresent()) {
      return metadata.integers(key).orElseThrow().asList();
    }
    return metadata.integer(key).stream().boxed().toList();
  }
}
