package io.portllm.bench.generate;

import io.portllm.DType;
import io.portllm.TensorInfo;
import io.portllm.internal.kernel.Floats;
import io.portllm.internal.quant.BlockCodecs;
import io.portllm.internal.run.Parallel;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** Makes GGUF files (version 3) from scratch, which the library, that writes only what it has read, does not. */
public final class GgufFile {
  private static final int ALIGNMENT = 32;
  private static final int RUN = 1 << 18;

  /** The numbers that files have for the types that can be made. */
  private static final Map<DType, Integer> TYPES =
      Map.of(
          DType.F32, 0, DType.F16, 1, DType.Q4_0, 2, DType.Q5_1, 7, DType.Q8_0, 8, DType.Q4_K, 12, DType.Q6_K, 14, DType.BF16, 30);

  private final ByteArrayOutputStream metadata = new ByteArrayOutputStream();
  private final List<TensorInfo> tensors = new ArrayList<>();
  private long keys;

  /** Reads weights. */
  public interface Values {
    /** Fills {@code values} with the weights of a tensor from number {@code first} on. */
    void read(TensorInfo tensor, long first, float[] values) throws IOException;
  }

  /** The number that files have for {@code type}. */
  public static int number(DType type) {
    Integer number = TYPES.get(type);
    if (number == null) {
      throw new IllegalArgumentException("type must be one of " + TYPES.keySet() + " but was " + type);
    }
    return number;
  }

  /** Adds a text. */
  public GgufFile key(String key, String value) {
    name(key, 8);
    string(value);
    return this;
  }

  /** Adds a whole number, as u32. */
  public GgufFile key(String key, int value) {
    name(key, 4);
    put(ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putInt(value));
    return this;
  }

  /** Adds a number, as f32. */
  public GgufFile key(String key, float value) {
    name(key, 6);
    put(ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putFloat(value));
    return this;
  }

  /** Adds true or false. */
  public GgufFile key(String key, boolean value) {
    name(key, 7);
    metadata.write(value ? 1 : 0);
    return this;
  }

  /** Adds texts. */
  public GgufFile strings(String key, List<String> values) {
    name(key, 9);
    put(ByteBuffer.allocate(12).order(ByteOrder.LITTLE_ENDIAN).putInt(8).putLong(values.size()));
    values.forEach(this::string);
    return this;
  }

  /** Adds whole numbers, as i32. */
  public GgufFile integers(String key, List<Integer> values) {
    name(key, 9);
    ByteBuffer bytes = ByteBuffer.allocate(12 + 4 * values.size()).order(ByteOrder.LITTLE_ENDIAN).putInt(5).putLong(values.size());
    values.forEach(bytes::putInt);
    put(bytes);
    return this;
  }

  /** Adds a tensor; its data comes behind that of those before. */
  public GgufFile tensor(TensorInfo tensor) {
    number(tensor.dtype());
    tensors.add(tensor);
    return this;
  }

  private void name(String key, int type) {
    string(key);
    put(ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putInt(type));
    keys++;
  }

  private void string(String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    put(ByteBuffer.allocate(8 + bytes.length).order(ByteOrder.LITTLE_ENDIAN).putLong(bytes.length).put(bytes));
  }

  private void put(ByteBuffer bytes) {
    metadata.write(bytes.array(), 0, bytes.position());
  }

  /** Writes the file, quantising the weights on all processors. */
  public void write(Path file, Values values) throws IOException {
    byte[] header = header();
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
      writeFully(channel, ByteBuffer.wrap(header), 0);
      List<Parallel.Task> tasks = new ArrayList<>();
      long start = header.length;
      for (TensorInfo tensor : tensors) {
        long at = start;
        for (long first = 0; first < tensor.elements(); first += RUN) {
          long from = first;
          tasks.add(() -> write(channel, at, tensor, from, values));
        }
        start += padded(tensor.bytes());
      }
      Parallel.run(Runtime.getRuntime().availableProcessors(), () -> false, tasks);
      writeFully(channel, ByteBuffer.allocate((int) (start - channel.size())), channel.size());
    }
  }

  private byte[] header() {
    GgufFile head = new GgufFile();
    head.put(ByteBuffer.allocate(24).order(ByteOrder.LITTLE_ENDIAN).put("GGUF".getBytes(StandardCharsets.US_ASCII)).putInt(3)
        .putLong(tensors.size()).putLong(keys));
    head.metadata.writeBytes(metadata.toByteArray());
    long offset = 0;
    for (TensorInfo tensor : tensors) {
      head.string(tensor.name());
      int rank = tensor.shape().rank();
      ByteBuffer info = ByteBuffer.allocate(16 + 8 * rank).order(ByteOrder.LITTLE_ENDIAN).putInt(rank);
      for (int i = rank - 1; i >= 0; i--) {
        info.putLong(tensor.shape().dimension(i));
      }
      head.put(info.putInt(number(tensor.dtype())).putLong(offset));
      offset += padded(tensor.bytes());
    }
    int length = head.metadata.size();
    head.metadata.writeBytes(new byte[(int) padded(length) - length]);
    return head.metadata.toByteArray();
  }

  private static void write(FileChannel channel, long start, TensorInfo tensor, long first, Values values) throws IOException {
    DType type = tensor.dtype();
    int count = (int) Math.min(RUN, tensor.elements() - first);
    float[] weights = new float[count];
    values.read(tensor, first, weights);
    ByteBuffer bytes = ByteBuffer.allocate(count / type.blockElements() * type.blockBytes()).order(ByteOrder.LITTLE_ENDIAN);
    if (type.isQuantised()) {
      BlockCodecs.of(type).quantise(weights, 0, count, bytes, 0);
    } else {
      Floats.write(type, weights, bytes, 0, count, new int[count]);
    }
    writeFully(channel, bytes, start + first / type.blockElements() * type.blockBytes());
  }

  private static long padded(long bytes) {
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  }

  private static void writeFully(FileChannel channel, ByteBuffer bytes, long position) throws IOException {
    long at = position;
    while (bytes.hasRemaining()) {
      at += channel.write(bytes, at);
    }
  }
}
