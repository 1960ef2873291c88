package io.portllm.io.internal.gguf;

import io.portllm.io.MalformedModelException;
import io.portllm.io.internal.files.SourceFile;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.Optional;

/** Reads a file from front to back, little-endian. Every length is compared with what is left of the file before anything is allocated. */
final class Cursor {
  private static final int BUFFER_BYTES = 64 << 10;

  private final SourceFile file;
  private final ByteBuffer buffer = ByteBuffer.allocate(BUFFER_BYTES).order(ByteOrder.LITTLE_ENDIAN).limit(0);
  private long bufferStart;

  Cursor(SourceFile file, long position) {
    this.file = file;
    this.bufferStart = position;
  }

  long position() {
    return bufferStart + buffer.position();
  }

  /** The bytes between here and the end of the file. */
  long left() {
    return file.size() - position();
  }

  byte u8(String what) throws IOException {
    require(1, what);
    return buffer.get();
  }

  int u32(String what) throws IOException {
    require(4, what);
    return buffer.getInt();
  }

  long u64(String what) throws IOException {
    require(8, what);
    return buffer.getLong();
  }

  /** The length of a string, which the file has room for. */
  long length(String what) throws IOException {
    long at = position();
    long length = u64("the length of " + what);
    if (length < 0 || length > left()) {
      throw malformed(
          "GG-STRLEN", at, "the length of " + what + " is " + Long.toUnsignedString(length) + " but only " + left() + " bytes follow");
    }
    return length;
  }

  /** The next {@code count} bytes, which the caller knows to be few. */
  byte[] bytes(int count, String what) throws IOException {
    requireLeft(count, what);
    byte[] bytes = new byte[count];
    int done = 0;
    while (done < count) {
      require(1, what);
      int part = Math.min(count - done, buffer.remaining());
      buffer.get(bytes, done, part);
      done += part;
    }
    return bytes;
  }

  void skip(long count, String what) throws IOException {
    requireLeft(count, what);
    if (count <= buffer.remaining()) {
      buffer.position(buffer.position() + (int) count);
    } else {
      bufferStart = position() + count;
      buffer.limit(0);
    }
  }

  private void requireLeft(long count, String what) throws MalformedModelException {
    if (count > left()) {
      throw malformed("GG-EOF", position(), "the file ends within " + what + ": " + count + " bytes are needed and " + left() + " left");
    }
  }

  /** Has the buffer hold the next {@code count} bytes, at most 8. */
  private void require(int count, String what) throws IOException {
    if (buffer.remaining() >= count) {
      return;
    }
    requireLeft(count, what);
    bufferStart = position();
    buffer.clear().limit((int) Math.min(BUFFER_BYTES, file.size() - bufferStart));
    file.readFully(bufferStart, buffer);
    buffer.flip();
  }

  MalformedModelException malformed(String rule, long offset, String message) {
    return new MalformedModelException(file.path(), rule, offset, message);
  }

  /** The text that these bytes are in UTF-8, if they are. */
  static Optional<String> utf8(byte[] bytes) {
    try {
      CharBuffer text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes));
      return Optional.of(text.toString());
    } catch (CharacterCodingException e) {
      return Optional.empty();
    }
  }
}
