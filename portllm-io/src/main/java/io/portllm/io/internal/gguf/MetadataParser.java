package io.portllm.io.internal.gguf;

import io.portllm.internal.text.Names;
import io.portllm.io.internal.files.Paths;
import io.portllm.io.internal.files.SourceFile;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;

/** Walks through the metadata of a file, noting where each value is. Values themselves stay on disk. */
final class MetadataParser {
  /** The most bytes of a key: 65,535, as the format says. */
  private static final int LONGEST_KEY = 65_535;

  /** The most elements of an array: 2^30, the limit of the reference implementation. */
  private static final long LONGEST_ARRAY = 1L << 30;

  /** How deep arrays may lie in arrays: 8, the outermost counted. Files of converters have one; the format allows any. */
  private static final int DEEPEST = 8;

  private static final System.Logger LOG = System.getLogger(MetadataParser.class.getName());

  private final SourceFile file;
  private final Cursor cursor;
  private final Map<String, GgufMetadata.Value> values = new LinkedHashMap<>();

  /** The first key that is not of the form that the format asks for. */
  private String oddKey;

  MetadataParser(SourceFile file, Cursor cursor) {
    this.file = file;
    this.cursor = cursor;
  }

  GgufMetadata parse(long count) throws IOException {
    for (long i = 0; i < count; i++) {
      parseEntry();
    }
    if (oddKey != null) {
      LOG.log(
          System.Logger.Level.WARNING,
          Paths.prefix(file.path()) + "metadata key " + Names.quote(oddKey) + " is not ASCII, as keys should be");
    }
    return new GgufMetadata(file, values);
  }

  private void parseEntry() throws IOException {
    long at = cursor.position();
    String key = parseKey(at);
    if (values.containsKey(key)) {
      throw cursor.malformed("GG-DUP", at, "metadata key " + Names.quote(key) + " occurs twice");
    }
    String what = "metadata " + Names.quote(key);
    ValueType type = parseType("the type of " + what);
    long start = cursor.position();
    ValueType elements = type;
    long count = 1;
    if (type == ValueType.ARRAY) {
      elements = parseType("the element type of " + what);
      count = parseCount(elements, what);
      start = cursor.position();
      skipElements(elements, count, 1, what);
    } else {
      skipValue(type, 0, what);
    }
    values.put(key, new GgufMetadata.Value(type, elements, count, start, cursor.position()));
  }

  private String parseKey(long at) throws IOException {
    long length = cursor.length("a metadata key");
    if (length == 0 || length > LONGEST_KEY) {
      throw cursor.malformed("GG-KEY", at, "a metadata key must have 1 to " + LONGEST_KEY + " bytes but has " + length);
    }
    byte[] bytes = cursor.bytes((int) length, "a metadata key");
    String key = Cursor.utf8(bytes).orElseThrow(() -> cursor.malformed("GG-KEY", at, "a metadata key is not UTF-8"));
    if (key.indexOf('\0') >= 0) {
      throw cursor.malformed("GG-KEY", at, "metadata key " + Names.quote(key) + " has a zero byte");
    }
    if (oddKey == null && key.length() == bytes.length && key.chars().allMatch(c -> c > ' ' && c < 0x7f)) {
      return key;
    }
    oddKey = oddKey == null ? key : oddKey;
    return key;
  }

  private ValueType parseType(String what) throws IOException {
    long at = cursor.position();
    int number = cursor.u32(what);
    return ValueType.of(number)
        .orElseThrow(
            () -> cursor.malformed("GG-KVTYPE", at, what + " must be 0 to " + (ValueType.values().length - 1) + " but is "
                + Integer.toUnsignedString(number)));
  }

  private long parseCount(ValueType elements, String what) throws IOException {
    long at = cursor.position();
    long count = cursor.u64("the length of " + what);
    if (count < 0 || count > LONGEST_ARRAY || count * elements.leastBytes() > cursor.left()) {
      throw cursor.malformed(
          "GG-ARRLEN",
          at,
          what + " is said to have " + Long.toUnsignedString(count) + " elements of at least " + elements.leastBytes() + " bytes; "
              + LONGEST_ARRAY + " are allowed and " + cursor.left() + " bytes follow");
    }
    return count;
  }

  private void skipValue(ValueType type, int depth, String what) throws IOException {
    switch (type) {
      case BOOL -> skipBool(what);
      case STRING -> cursor.skip(cursor.length(what), what);
      case ARRAY -> {
        if (depth > DEEPEST) {
          throw cursor.malformed("GG-DEPTH", cursor.position(), what + " has arrays in arrays, more than " + DEEPEST + " deep");
        }
        ValueType elements = parseType("the element type of " + what);
        skipElements(elements, parseCount(elements, what), depth, what);
      }
      default -> cursor.skip(type.leastBytes(), what);
    }
  }

  private void skipElements(ValueType type, long count, int depth, String what) throws IOException {
    switch (type) {
      case BOOL, STRING, ARRAY -> {
        for (long i = 0; i < count; i++) {
          skipValue(type, depth + 1, what);
        }
      }
      default -> cursor.skip(count * type.leastBytes(), what);
    }
  }

  private void skipBool(String what) throws IOException {
    long at = cursor.position();
    byte value = cursor.u8(what);
    if (value != 0 && value != 1) {
      throw cursor.malformed("GG-BOOL", at, what + " must be 0 or 1, false or true, but is " + (value & 0xff));
    }
  }
}
