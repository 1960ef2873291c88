package io.portllm.io;

import io.portllm.ModelVersion;
import io.portllm.io.internal.gguf.GgufHeader;
import io.portllm.io.internal.gguf.GgufModel;
import io.portllm.io.internal.gguf.MetadataSummary;
import io.portllm.io.internal.gguf.ValueType;
import java.io.IOException;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/**
 * What a GGUF file says of itself, of a split model the first file.
 *
 * @param version the version of the format: 2 or 3
 * @param alignment the bytes of which every tensor begins at a multiple
 * @param architecture {@code general.architecture}, such as {@code llama}, if it is stated and a text
 * @param metadata for each key of the metadata, in the order of the file, a text: its value, or of long texts and arrays how long they are
 */
public record GgufInfo(int version, long alignment, Optional<String> architecture, Map<String, String> metadata) {
  private static final String ARCHITECTURE = "general.architecture";

  public GgufInfo {
    metadata = Collections.unmodifiableMap(new LinkedHashMap<>(metadata));
  }

  /**
   * What the files of {@code model} say; empty if it was not opened from GGUF files. Reads their metadata.
   *
   * @throws IOException if reading failed
   */
  public static Optional<GgufInfo> of(ModelVersion model) throws IOException {
    if (!(model instanceof GgufModel gguf)) {
      return Optional.empty();
    }
    GgufHeader header = gguf.parts().get(0).header();
    Map<String, String> metadata = MetadataSummary.of(header.metadata());
    Optional<String> architecture =
        header.metadata().type(ARCHITECTURE).filter(ValueType.STRING::equals).map(type -> metadata.get(ARCHITECTURE));
    return Optional.of(new GgufInfo(header.version(), header.alignment(), architecture, metadata));
  }
}
