package io.portllm.io.internal.gguf;

import io.portllm.DType;
import io.portllm.Shape;
import io.portllm.TensorInfo;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.Random;
import java.util.stream.IntStream;

/** Builds GGUF files for tests, valid ones and others. */
public final class GgufBytes {
  private final ByteArrayOutputStream entries = new ByteArrayOutputStream();
  private final ByteArrayOutputStream infos = new ByteArrayOutputStream();
  private final ByteArrayOutputStream data = new ByteArrayOutputStream();
  private int version = 3;
  private int alignment = 32;
  private long entryCount;
  private long tensorCount;

  /** Every type that GGUF files store, by its number. */
  public static DType[] types() {
    return IntStream.range(0, 64).mapToObj(TensorTypes::of).flatMap(Optional::stream).toArray(DType[]::new);
  }

  public static byte[] random(long length, long seed) {
    byte[] bytes = new byte[(int) length];
    new Random(seed).nextBytes(bytes);
    return bytes;
  }

  static byte[] le(Object... values) {
    ByteBuffer buffer = ByteBuffer.allocate(1 << 18).order(ByteOrder.LITTLE_ENDIAN);
    for (Object value : values) {
      if (value instanceof Byte number) {
        buffer.put(number);
      } else if (value instanceof Short number) {
        buffer.putShort(number);
      } else if (value instanceof Integer number) {
        buffer.putInt(number);
      } else if (value instanceof Long number) {
        buffer.putLong(number);
      } else if (value instanceof Float number) {
        buffer.putFloat(number);
      } else if (value instanceof Double number) {
        buffer.putDouble(number);
      } else if (value instanceof byte[] bytes) {
        buffer.put(bytes);
      } else {
        byte[] text = ((String) value).getBytes(StandardCharsets.UTF_8);
        buffer.putLong(text.length).put(text);
      }
    }
    byte[] bytes = new byte[buffer.position()];
    buffer.flip().get(bytes);
    return bytes;
  }

  public GgufBytes version(int number) {
    version = number;
    return this;
  }

  /** Adds to what the header says that there is. */
  GgufBytes counting(long tensors, long entries) {
    tensorCount += tensors;
    entryCount += entries;
    return this;
  }

  public GgufBytes alignment(int bytes) {
    alignment = bytes;
    return entry("general.alignment", ValueType.U32, bytes);
  }

  /** An entry whose value is these numbers and texts, little-endian; of an array, with its element type and length first. */
  public GgufBytes entry(String key, ValueType type, Object... value) {
    return raw(le(key, type.ordinal()), le(value));
  }

  public GgufBytes strings(String key, String... texts) {
    return raw(le(key, ValueType.ARRAY.ordinal(), ValueType.STRING.ordinal(), (long) texts.length), le((Object[]) texts));
  }

  /** An entry of these bytes. */
  GgufBytes raw(byte[]... parts) {
    for (byte[] part : parts) {
      entries.writeBytes(part);
    }
    entryCount++;
    return this;
  }

  /** A tensor of random bytes, with torch's shape. */
  public GgufBytes tensor(String name, DType type, long... shape) {
    TensorInfo info = new TensorInfo(name, type, Shape.of(shape));
    return tensor(name, type, random(info.bytes(), name.hashCode()), shape);
  }

  public GgufBytes tensor(String name, DType type, byte[] bytes, long... shape) {
    info(name, TensorTypes.numberOf(type).getAsInt(), data.size(), shape);
    return data(bytes);
  }

  /** What the header says of a tensor, and no data. */
  GgufBytes info(String name, int type, long offset, long... shape) {
    infos.writeBytes(le(name, shape.length));
    for (int i = shape.length - 1; i >= 0; i--) {
      infos.writeBytes(le(shape[i]));
    }
    infos.writeBytes(le(type, offset));
    tensorCount++;
    return this;
  }

  /** Data and its padding. */
  GgufBytes data(byte[] bytes) {
    data.writeBytes(bytes);
    data.writeBytes(new byte[Math.floorMod(-data.size(), alignment)]);
    return this;
  }

  public byte[] build() {
    ByteArrayOutputStream file = new ByteArrayOutputStream();
    file.writeBytes("GGUF".getBytes(StandardCharsets.US_ASCII));
    file.writeBytes(le(version, tensorCount, entryCount));
    file.writeBytes(entries.toByteArray());
    file.writeBytes(infos.toByteArray());
    if (data.size() > 0) {
      file.writeBytes(new byte[Math.floorMod(-file.size(), alignment)]);
    }
    file.writeBytes(data.toByteArray());
    return file.toByteArray();
  }

  public Path write(Path file) throws IOException {
    Files.createDirectories(file.toAbsolutePath().getParent());
    return Files.write(file, build());
  }

  /** A model with an entry of each type and a tensor of each type. */
  public static GgufBytes everything(long seed) {
    GgufBytes bytes = new GgufBytes()
        .entry("general.architecture", ValueType.STRING, "llama")
        .entry("a.u8", ValueType.U8, (byte) 200)
        .entry("a.i8", ValueType.I8, (byte) -2)
        .entry("a.u16", ValueType.U16, (short) -1)
        .entry("a.i16", ValueType.I16, (short) -1)
        .entry("a.u32", ValueType.U32, -1)
        .entry("a.i32", ValueType.I32, -1)
        .entry("a.u64", ValueType.U64, Long.MIN_VALUE)
        .entry("a.i64", ValueType.I64, Long.MIN_VALUE)
        .entry("a.f32", ValueType.F32, 1.5f)
        .entry("a.f64", ValueType.F64, -0.1)
        .entry("a.bool", ValueType.BOOL, (byte) 1)
        .entry("a.ints", ValueType.ARRAY, ValueType.I32.ordinal(), 3L, 4, -5, 6)
        .entry("a.floats", ValueType.ARRAY, ValueType.F32.ordinal(), 2L, 0.5f, -2f)
        .entry("a.bools", ValueType.ARRAY, ValueType.BOOL.ordinal(), 2L, (byte) 0, (byte) 1)
        .entry("a.nested", ValueType.ARRAY, ValueType.ARRAY.ordinal(), 1L, ValueType.U8.ordinal(), 2L, (byte) 1, (byte) 2)
        .entry("a.empty", ValueType.ARRAY, ValueType.STRING.ordinal(), 0L)
        .strings("tokenizer.ggml.tokens", "<s>", "", "\u2581the", "\ud83d\ude00");
    for (DType type : types()) {
      long elements = 3L * type.blockElements();
      bytes.tensor(type.name(), type, random(2 * elements / type.blockElements() * type.blockBytes(), seed + type.ordinal()), 2, elements);
    }
    return bytes.tensor("scalar", DType.F32, random(4, seed)).tensor("empty", DType.F16, new byte[0], 0, 7)
        .tensor("cube", DType.I8, 2, 3, 5);
  }
}
