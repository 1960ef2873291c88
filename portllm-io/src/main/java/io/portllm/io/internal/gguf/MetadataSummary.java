package io.portllm.io.internal.gguf;

import io.portllm.io.MalformedModelException;
import java.io.IOException;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/** Metadata as short texts. */
public final class MetadataSummary {
  /** The longest string that is shown whole: 4 KiB. Chat templates are often longer. */
  private static final int LONGEST_STRING = 4096;

  /** The most numbers of an array that are shown. */
  private static final int MOST_NUMBERS = 16;

  private final GgufMetadata metadata;

  private MetadataSummary(GgufMetadata metadata) {
    this.metadata = metadata;
  }

  /**
   * A text for each key, in the order of the file: the value of numbers, of texts that are not too long and of short arrays of numbers; of
   * everything else how much there is.
   */
  public static Map<String, String> of(GgufMetadata metadata) throws IOException {
    MetadataSummary summary = new MetadataSummary(metadata);
    Map<String, String> texts = new LinkedHashMap<>();
    for (String key : metadata.keys()) {
      texts.put(key, summary.text(key));
    }
    return Collections.unmodifiableMap(texts);
  }

  private String text(String key) throws IOException {
    ValueType type = metadata.type(key).orElseThrow();
    return switch (type) {
      case BOOL -> metadata.bool(key).orElseThrow().toString();
      case STRING -> string(key);
      case ARRAY -> array(key);
      case U64 -> Long.toUnsignedString(metadata.bits(key));
      case F32 -> Float.toString((float) metadata.number(key).orElseThrow());
      case F64 -> Double.toString(metadata.number(key).orElseThrow());
      default -> Long.toString(metadata.integer(key).orElseThrow());
    };
  }

  private String string(String key) throws IOException {
    long bytes = metadata.bytes(key);
    if (bytes <= LONGEST_STRING) {
      try {
        return metadata.string(key).orElseThrow();
      } catch (MalformedModelException e) {
        return "(" + bytes + " bytes that are no text)";
      }
    }
    return "(text of " + bytes + " bytes)";
  }

  private String array(String key) throws IOException {
    ValueType elements = metadata.elementType(key).orElseThrow();
    long count = metadata.length(key).orElseThrow();
    if (count <= MOST_NUMBERS && elements.isInteger() && elements != ValueType.U64) {
      return metadata.integers(key).orElseThrow().toString();
    }
    return "(" + count + " x " + elements + ")";
  }
}
