package io.portllm.io.internal.gguf.lens;

import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.TensorInfo;
import io.portllm.internal.buffer.DirectBuffers;
import io.portllm.internal.kernel.Floats;
import io.portllm.internal.quant.BlockCodec;
import io.portllm.internal.quant.BlockCodecs;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Reads elements of GGUF tensors as another type: quantised ones by their values, and without what the conversion added. Safe for use by many
 * threads.
 */
final class Decoding {
  /** Elements that are decoded at a time: a multiple of every block, small enough for the second-level cache. */
  static final int RUN = 1 << 16;

  private final ModelVersion file;
  private final DirectBuffers buffers = new DirectBuffers(8 * RUN);

  Decoding(ModelVersion file) {
    this.file = file;
  }

  /**
   * Reads elements.
   *
   * @param first the first, counted from the start of the tensor
   * @param shift what to subtract from each
   * @param type the type to read them as: that of the tensor, or an arithmetic one that holds its values less {@code shift}
   * @param target receives {@code count} elements from its position on, little-endian; the position moves behind them
   */
  void read(TensorInfo tensor, long first, int count, float shift, DType type, ByteBuffer target) throws IOException {
    if (tensor.dtype() == type && shift == 0) {
      ByteBuffer part = target.slice(target.position(), count * type.bytes());
      file.read(tensor, first * type.bytes(), part);
      target.position(target.position() + count * type.bytes());
      return;
    }
    float[] values = new float[Math.min(count, RUN)];
    int[] scratch = new int[values.length];
    ByteBuffer ordered = target.slice(target.position(), count * type.bytes()).order(ByteOrder.LITTLE_ENDIAN);
    for (int done = 0; done < count; done += RUN) {
      int length = Math.min(RUN, count - done);
      read(tensor, first + done, length, values, scratch);
      subtract(values, length, shift);
      Floats.write(type, values, ordered.slice(done * type.bytes(), length * type.bytes()).order(ByteOrder.LITTLE_ENDIAN), 0, length, scratch);
    }
    target.position(target.position() + count * type.bytes());
  }

  /** Reads up to {@link #RUN} elements as float32. */
  void read(TensorInfo tensor, long first, int count, float[] values, int[] scratch) throws IOException {
    DType type = tensor.dtype();
    long from = first - first % type.blockElements();
    long to = first + count + type.blockElements() - 1;
    int length = Math.toIntExact(to - to % type.blockElements() - from);
    ByteBuffer bytes = length <= RUN ? buffers.lend(bytes(type, length)) : ByteBuffer.allocateDirect(bytes(type, length));
    bytes.order(ByteOrder.LITTLE_ENDIAN);
    try {
      file.read(tensor, from / type.blockElements() * type.blockBytes(), bytes);
      if (!type.isQuantised()) {
        Floats.read(type, bytes, 0, values, count, scratch);
      } else if (length == count) {
        BlockCodecs.of(type).dequantise(bytes, 0, values, 0, count);
      } else {
        readWithin(BlockCodecs.of(type), bytes, (int) (first - from), length, values, count);
      }
    } finally {
      if (length <= RUN) {
        buffers.takeBack(bytes);
      }
    }
  }

  private static void readWithin(BlockCodec codec, ByteBuffer bytes, int skip, int length, float[] values, int count) {
    float[] whole = new float[length];
    codec.dequantise(bytes, 0, whole, 0, length);
    System.arraycopy(whole, skip, values, 0, count);
  }

  private static void subtract(float[] values, int count, float shift) {
    if (shift != 0) {
      for (int i = 0; i < count; i++) {
        values[i] -= shift;
      }
    }
  }

  private static int bytes(DType type, int elements) {
    return elements / type.blockElements() * type.blockBytes();
  }
}
