package io.portllm.bench.real;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * Reads a message in protobuf's wire format, field after field. It knows no schema: the caller tells fields by number.
 *
 * <p>{@snippet :
 * while (reader.next()) {
 *   switch (reader.field()) {
 *     case 7 -> readGraph(reader.message());
 *     default -> {}
 *   }
 * }
 * }
 *
 * <p>Not safe for use by many threads.
 */
final class ProtobufReader {
  private static final int VARINT = 0;
  private static final int FIXED64 = 1;
  private static final int LENGTH_DELIMITED = 2;
  private static final int FIXED32 = 5;

  private final String source;
  private final long origin;
  private final ByteBuffer message;
  private int field;
  private int wireType;
  private long number;
  private ByteBuffer bytes;
  private long valueAt;

  /**
   * A reader of a whole message.
   *
   * @param source what messages call it, such as the file's name
   * @param message its bytes, from position to limit; shared, not changed
   */
  ProtobufReader(String source, ByteBuffer message) {
    this(source, 0, message.slice());
  }

  private ProtobufReader(String source, long origin, ByteBuffer message) {
    this.source = source;
    this.origin = origin;
    this.message = message;
  }

  /**
   * Moves to the next field.
   *
   * @return false at the end of the message
   * @throws IOException if what follows is no field, or runs past the end of the message
   */
  boolean next() throws IOException {
    if (!message.hasRemaining()) {
      return false;
    }
    long tagAt = offset();
    long tag = readVarint();
    if (tag >>> 3 == 0 || tag >>> 3 >= 1 << 29) {
      throw malformed("field number must be 1 to 536870911 but was " + Long.toUnsignedString(tag >>> 3), tagAt);
    }
    field = (int) (tag >>> 3);
    wireType = (int) (tag & 7);
    valueAt = offset();
    number = 0;
    bytes = null;
    switch (wireType) {
      case VARINT -> number = readVarint();
      case FIXED64 -> bytes = take(8);
      case LENGTH_DELIMITED -> {
        long length = readVarint();
        valueAt = offset();
        bytes = take(length);
      }
      case FIXED32 -> bytes = take(4);
      default -> throw malformed("wire type must be 0, 1, 2 or 5 but was " + wireType, tagAt);
    }
    return true;
  }

  /** The number of the current field. */
  int field() {
    return field;
  }

  /** The current field's value, a varint: an int64, uint64, enum or bool. */
  long varint() throws IOException {
    if (wireType != VARINT) {
      throw malformed("field " + field + " must be a varint but has wire type " + wireType, valueAt);
    }
    return number;
  }

  /** The current field's values, a repeated varint in either of its forms: one value for each field, or packed. */
  long[] varints() throws IOException {
    if (wireType == VARINT) {
      return new long[] {number};
    }
    ProtobufReader packed = message();
    long[] values = new long[packed.message.remaining()];
    int count = 0;
    while (packed.message.hasRemaining()) {
      values[count++] = packed.readVarint();
    }
    return Arrays.copyOf(values, count);
  }

  /** The current field's bytes: a length-delimited value, or 4 or 8 bytes of fixed size. A view, not a copy. */
  ByteBuffer bytes() throws IOException {
    if (bytes == null) {
      throw malformed("field " + field + " must hold bytes but has wire type " + wireType, valueAt);
    }
    return bytes.duplicate();
  }

  /** The current field's text, with what is no UTF-8 replaced. */
  String text() throws IOException {
    return StandardCharsets.UTF_8.decode(delimited()).toString();
  }

  /** A reader of the current field's value, a message. */
  ProtobufReader message() throws IOException {
    return new ProtobufReader(source, valueAt, delimited().slice());
  }

  private ByteBuffer delimited() throws IOException {
    if (wireType != LENGTH_DELIMITED) {
      throw malformed("field " + field + " must be length-delimited but has wire type " + wireType, valueAt);
    }
    return bytes.duplicate();
  }

  private long readVarint() throws IOException {
    long start = offset();
    long value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
      if (!message.hasRemaining()) {
        throw malformed("varint runs past the end of its message", start);
      }
      byte next = message.get();
      value |= (long) (next & 0x7f) << shift;
      if (next >= 0) {
        return value;
      }
    }
    throw malformed("varint is longer than 10 bytes", start);
  }

  private ByteBuffer take(long length) throws IOException {
    if (length < 0 || length > message.remaining()) {
      throw malformed(
          "value needs " + Long.toUnsignedString(length) + " bytes but its message has " + message.remaining() + " left", offset());
    }
    ByteBuffer taken = message.slice(message.position(), (int) length);
    message.position(message.position() + (int) length);
    return taken;
  }

  private long offset() {
    return origin + message.position();
  }

  private IOException malformed(String what, long at) {
    return new IOException("[" + source + "] " + what + " (byte " + at + ")");
  }
}
