package io.portllm.io.internal.gguf;

import com.google.common.collect.ImmutableSet;
import com.google.common.primitives.ImmutableDoubleArray;
import com.google.common.primitives.ImmutableLongArray;
import io.portllm.internal.text.Names;
import io.portllm.io.MalformedModelException;
import io.portllm.io.internal.files.SourceFile;
import java.io.IOException;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;

/**
 * The metadata of a GGUF file: typed values under text keys, in the order of the file. Only where they are is held in memory; each getter
 * reads the file, which must be open, and is empty where there is no such key.
 *
 * <p>Immutable, and safe for use by many threads. Every getter throws {@link MalformedModelException} (GG-TYPE) if the value is of another
 * type than is asked for, and {@link IOException} if reading failed.
 */
public final class GgufMetadata {
  /** The longest string that is read into memory: 16 MiB. Chat templates have up to 30 KiB. */
  static final int LONGEST_STRING = 16 << 20;

  /** The most numbers of an array that are read into memory: 2^24. Vocabularies have up to 2^18. */
  private static final int MOST_NUMBERS = 1 << 24;

  /**
   * Where a value is.
   *
   * @param type its type
   * @param elements the type of its elements, if it is an array; otherwise {@code type}
   * @param count the number of its elements, if it is an array; otherwise 1
   * @param start the byte of the file at which it begins: of an array its first element, of a string its length
   * @param end the byte after it
   */
  record Value(ValueType type, ValueType elements, long count, long start, long end) {}

  private final SourceFile file;
  private final Map<String, Value> values;

  GgufMetadata(SourceFile file, Map<String, Value> values) {
    this.file = file;
    this.values = Collections.unmodifiableMap(new LinkedHashMap<>(values));
  }

  /** The keys in the order of the file. */
  public ImmutableSet<String> keys() {
    return ImmutableSet.copyOf(values.keySet());
  }

  /** Whether there is a value of whatever type. */
  public boolean has(String key) {
    return values.containsKey(key);
  }

  /** The type of a value. */
  public Optional<ValueType> type(String key) {
    return Optional.ofNullable(values.get(key)).map(Value::type);
  }

  /** The type of an array's elements. */
  public Optional<ValueType> elementType(String key) {
    return Optional.ofNullable(values.get(key)).filter(value -> value.type() == ValueType.ARRAY).map(Value::elements);
  }

  /** The number of elements of an array. */
  public OptionalLong length(String key) {
    Value value = values.get(key);
    return value == null || value.type() != ValueType.ARRAY ? OptionalLong.empty() : OptionalLong.of(value.count());
  }

  /** The byte of the file at which a value begins. */
  long start(String key) {
    return values.get(key).start();
  }

  /** The bytes of a string. */
  long bytes(String key) {
    Value value = values.get(key);
    return value.end() - value.start() - Long.BYTES;
  }

  /** The bits of a whole number of 64. */
  long bits(String key) throws IOException {
    return new Cursor(file, values.get(key).start()).u64(key);
  }

  /** {@code general.architecture}, such as {@code llama}. */
  public Optional<String> architecture() throws IOException {
    return string("general.architecture");
  }

  /** The tokens of the vocabulary, if the file has one: {@code tokenizer.ggml.tokens}. */
  public Optional<GgufStrings> tokens() throws IOException {
    return strings("tokenizer.ggml.tokens");
  }

  /** A string, which must be UTF-8. */
  public Optional<String> string(String key) throws IOException {
    Value value = values.get(key);
    if (value == null) {
      return Optional.empty();
    }
    if (value.type() != ValueType.STRING) {
      throw wrongType(key, value, "a string");
    }
    Cursor cursor = new Cursor(file, value.start());
    return Optional.of(GgufStrings.text(cursor, GgufStrings.next(cursor, Names.quote(key)), Names.quote(key)));
  }

  /** A whole number of any width. One of 2^63 or more is refused as a type is. */
  public OptionalLong integer(String key) throws IOException {
    Value value = values.get(key);
    if (value == null) {
      return OptionalLong.empty();
    }
    if (!value.type().isInteger()) {
      throw wrongType(key, value, "a whole number");
    }
    return OptionalLong.of(integer(new Cursor(file, value.start()), value, key));
  }

  /** A number: a floating-point one, or a whole one of any width. */
  public OptionalDouble number(String key) throws IOException {
    Value value = values.get(key);
    if (value == null) {
      return OptionalDouble.empty();
    }
    if (value.type() == ValueType.ARRAY || !isNumber(value.elements())) {
      throw wrongType(key, value, "a number");
    }
    return OptionalDouble.of(number(new Cursor(file, value.start()), value, key));
  }

  /** True or false. */
  public Optional<Boolean> bool(String key) throws IOException {
    Value value = values.get(key);
    if (value == null) {
      return Optional.empty();
    }
    if (value.type() != ValueType.BOOL) {
      throw wrongType(key, value, "true or false");
    }
    return Optional.of(new Cursor(file, value.start()).u8(key) != 0);
  }

  /** An array of strings, read as it is gone through. */
  public Optional<GgufStrings> strings(String key) throws IOException {
    Value value = values.get(key);
    if (value == null) {
      return Optional.empty();
    }
    if (value.type() != ValueType.ARRAY || value.elements() != ValueType.STRING) {
      throw wrongType(key, value, "an array of strings");
    }
    return Optional.of(new GgufStrings(file, key, value));
  }

  /** An array of whole numbers of any width, at most 2^24. */
  public Optional<ImmutableLongArray> integers(String key) throws IOException {
    Value value = values.get(key);
    if (value == null) {
      return Optional.empty();
    }
    if (value.type() != ValueType.ARRAY || !value.elements().isInteger()) {
      throw wrongType(key, value, "an array of whole numbers");
    }
    Cursor cursor = new Cursor(file, value.start());
    long[] numbers = new long[count(key, value)];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = integer(cursor, value, key);
    }
    return Optional.of(ImmutableLongArray.copyOf(numbers));
  }

  /** An array of numbers, floating-point or whole, at most 2^24. */
  public Optional<ImmutableDoubleArray> numbers(String key) throws IOException {
    Value value = values.get(key);
    if (value == null) {
      return Optional.empty();
    }
    if (value.type() != ValueType.ARRAY || !isNumber(value.elements())) {
      throw wrongType(key, value, "an array of numbers");
    }
    Cursor cursor = new Cursor(file, value.start());
    double[] numbers = new double[count(key, value)];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = number(cursor, value, key);
    }
    return Optional.of(ImmutableDoubleArray.copyOf(numbers));
  }

  private static boolean isNumber(ValueType type) {
    return type.isInteger() || type == ValueType.F32 || type == ValueType.F64;
  }

  private int count(String key, Value value) throws MalformedModelException {
    if (value.count() > MOST_NUMBERS) {
      throw new MalformedModelException(
          file.path(),
          "GG-ARRLEN",
          value.start(),
          "metadata " + Names.quote(key) + " has " + value.count() + " elements, more than the " + MOST_NUMBERS + " that are read");
    }
    return (int) value.count();
  }

  private long integer(Cursor cursor, Value value, String key) throws IOException {
    return switch (value.elements()) {
      case U8 -> cursor.u8(key) & 0xffL;
      case I8 -> cursor.u8(key);
      case U16 -> cursor.u8(key) & 0xffL | (cursor.u8(key) & 0xffL) << 8;
      case I16 -> cursor.u8(key) & 0xffL | (long) cursor.u8(key) << 8;
      case U32 -> cursor.u32(key) & 0xffff_ffffL;
      case I32 -> cursor.u32(key);
      case I64 -> cursor.u64(key);
      default -> {
        long number = cursor.u64(key);
        if (number < 0) {
          throw wrongType(key, value, "a whole number below 2^63");
        }
        yield number;
      }
    };
  }

  private double number(Cursor cursor, Value value, String key) throws IOException {
    return switch (value.elements()) {
      case F32 -> Float.intBitsToFloat(cursor.u32(key));
      case F64 -> Double.longBitsToDouble(cursor.u64(key));
      default -> integer(cursor, value, key);
    };
  }

  private MalformedModelException wrongType(String key, Value value, String wanted) {
    String found = value.type() == ValueType.ARRAY ? "an array of " + value.elements() : value.type().toString();
    return new MalformedModelException(
        file.path(), "GG-TYPE", value.start(), "metadata " + Names.quote(key) + " must be " + wanted + " but is " + found);
  }
}
