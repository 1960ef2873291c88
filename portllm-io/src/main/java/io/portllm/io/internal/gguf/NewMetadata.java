package io.portllm.io.internal.gguf;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/** The metadata of a GGUF file that takes no other's place, in the order in which it is given. */
public final class NewMetadata {
  private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
  private int entries;

  /** With a string. */
  public NewMetadata with(String key, String value) {
    start(key, ValueType.STRING);
    string(value);
    return this;
  }

  /** With a whole number of 0 to 2^32 − 1. */
  public NewMetadata with(String key, long value) {
    start(key, ValueType.U32);
    number(4, value);
    return this;
  }

  /** With a number. */
  public NewMetadata with(String key, float value) {
    start(key, ValueType.F32);
    number(4, Float.floatToRawIntBits(value));
    return this;
  }

  private void start(String key, ValueType type) {
    entries++;
    string(key);
    number(4, type.ordinal());
  }

  private void string(String text) {
    byte[] encoded = text.getBytes(StandardCharsets.UTF_8);
    number(8, encoded.length);
    bytes.writeBytes(encoded);
  }

  private void number(int size, long value) {
    bytes.write(ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(value).array(), 0, size);
  }

  /** The number of entries. */
  int entries() {
    return entries;
  }

  byte[] bytes() {
    return bytes.toByteArray();
  }
}
