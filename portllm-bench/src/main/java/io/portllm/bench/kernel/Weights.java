package io.portllm.bench.kernel;

import io.portllm.DType;
import io.portllm.internal.kernel.Conversion;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Random;

/** Runs of random weights in direct memory. */
final class Weights {
  /** Numbers are made once and repeated: making them takes longer than what is measured. */
  private static final int PERIOD = 1 << 18;

  private Weights() {}

  /** Room for {@code count} elements. */
  static ByteBuffer buffer(DType dtype, int count) {
    return ByteBuffer.allocateDirect(Math.multiplyExact(count, dtype.bytes())).order(ByteOrder.LITTLE_ENDIAN);
  }

  /** Normal weights, of which every 262,144 are the same. */
  static ByteBuffer normal(DType dtype, int count, double deviation, long seed) {
    return repeated(dtype, floats(Math.min(count, PERIOD), deviation, seed), count);
  }

  /** The weights that {@link #normal} makes with {@code baseSeed}, moved as fine-tuning does: by normal changes. */
  static ByteBuffer moved(DType dtype, int count, double deviation, long baseSeed, double change, long seed) {
    float[] values = floats(Math.min(count, PERIOD), deviation, baseSeed);
    float[] changes = floats(values.length, change, seed);
    for (int i = 0; i < values.length; i++) {
      values[i] += changes[i];
    }
    return repeated(dtype, values, count);
  }

  static float[] floats(int count, double deviation, long seed) {
    Random random = new Random(seed);
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) (random.nextGaussian() * deviation);
    }
    return values;
  }

  static ByteBuffer copy(ByteBuffer bytes) {
    return ByteBuffer.allocateDirect(bytes.capacity()).order(ByteOrder.LITTLE_ENDIAN).put(0, bytes, 0, bytes.capacity());
  }

  private static ByteBuffer repeated(DType dtype, float[] values, int count) {
    ByteBuffer floats = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    floats.asFloatBuffer().put(values);
    ByteBuffer run = buffer(dtype, values.length);
    Conversion.convert(DType.F32, floats, dtype, run, values.length);
    ByteBuffer all = buffer(dtype, count);
    for (int at = 0; at < all.capacity(); at += run.capacity()) {
      all.put(at, run, 0, Math.min(run.capacity(), all.capacity() - at));
    }
    return all;
  }
}
