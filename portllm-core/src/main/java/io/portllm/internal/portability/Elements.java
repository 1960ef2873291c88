package io.portllm.internal.portability;

import io.portllm.DType;
import io.portllm.Tensor;
import io.portllm.internal.kernel.Floats;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.ShortBuffer;
import java.util.Arrays;

/**
 * A block of rows as float32 and float64. Whole arrays are copied out of buffers and worked on at one index, which is many times as fast as
 * single elements of buffers. For one thread.
 */
final class Elements {
  /** Elements looked at together for infinite and NaN ones. */
  private static final int PROBE = 1024;

  private final int most;
  private final int columns;
  private double[][] rows;
  private final float[] floats;
  private final float[] row;
  private final float[] probed = new float[PROBE];
  private final float[] probe = new float[PROBE];
  private ByteBuffer bytes = ByteBuffer.allocate(0);
  private ShortBuffer shorts;
  private FloatBuffer singles;
  private short[] stored = new short[0];
  private int[] bits = new int[0];

  /** Room for up to {@code most} rows of {@code columns} elements. */
  Elements(int most, int columns) {
    this.most = most;
    this.columns = columns;
    this.floats = new float[Math.multiplyExact(most, columns)];
    this.row = new float[columns];
  }

  /** The rows in float64. */
  double[][] rows() {
    rows = rows == null ? new double[most][columns] : rows;
    return rows;
  }

  /** The block in float32, row after row; what was F64 is rounded. */
  float[] floats() {
    return floats;
  }

  /** Reads {@code count} elements from element {@code first} on; infinite and NaN ones become zero. Returns how many those are. */
  long read(Tensor tensor, long first, int count) throws IOException {
    return readBytes(tensor, first, count) == DType.F64 ? decodeDoubles(count) : settle(count);
  }

  /** Reads as {@link #read} does, but makes no rows. */
  long readFloats(Tensor tensor, long first, int count) throws IOException {
    return readBytes(tensor, first, count) == DType.F64 ? decodeDoubles(count) : clean(count);
  }

  private DType readBytes(Tensor tensor, long first, int count) throws IOException {
    DType type = tensor.info().dtype();
    ByteBuffer buffer = buffer(type, count);
    tensor.read(first * type.bytes(), buffer);
    if (type != DType.F64) {
      decodeFloats(type, count);
    }
    return type;
  }

  /** Room for the bytes of {@code count} elements. */
  ByteBuffer buffer(DType type, int count) {
    if (bytes.capacity() < floats.length * type.bytes()) {
      bytes = ByteBuffer.allocate(floats.length * type.bytes()).order(ByteOrder.LITTLE_ENDIAN);
      shorts = bytes.asShortBuffer();
      singles = bytes.asFloatBuffer();
    }
    return bytes.clear().limit(count * type.bytes());
  }

  /** Takes what was put into the {@link #buffer}; infinite and NaN elements become zero. Returns how many those are. */
  long decode(DType type, int count) {
    if (type == DType.F64) {
      return decodeDoubles(count);
    }
    decodeFloats(type, count);
    return settle(count);
  }

  private void decodeFloats(DType type, int count) {
    if (type == DType.BF16) {
      stored = stored.length == 0 ? new short[floats.length] : stored;
      shorts.get(0, stored, 0, count);
      widen(stored, floats, count);
    } else if (type == DType.F32) {
      singles.get(0, floats, 0, count);
    } else {
      bits = bits.length == 0 ? new int[floats.length] : bits;
      Floats.read(type, bytes, 0, floats, count, bits);
    }
  }

  /** Makes rows of the first {@code count} of {@link #floats}; infinite and NaN ones become zero. Returns how many those are. */
  long settle(int count) {
    long found = clean(count);
    double[][] target = rows();
    for (int at = 0; at < count; at += columns) {
      int length = Math.min(columns, count - at);
      System.arraycopy(floats, at, row, 0, length);
      widen(row, target[at / columns], length);
    }
    return found;
  }

  private static void widen(short[] stored, float[] floats, int count) {
    for (int i = 0; i < count; i++) {
      floats[i] = Float.intBitsToFloat(stored[i] << 16);
    }
  }

  private static void widen(float[] floats, double[] doubles, int count) {
    for (int i = 0; i < count; i++) {
      doubles[i] = floats[i];
    }
  }

  private long decodeDoubles(int count) {
    long found = 0;
    double[][] target = rows();
    for (int i = 0; i < count; i++) {
      double value = bytes.getDouble(8 * i);
      boolean finite = Double.isFinite(value);
      found += finite ? 0 : 1;
      target[i / columns][i % columns] = finite ? value : 0;
      floats[i] = finite ? (float) value : 0;
    }
    return found;
  }

  /** Zero times a number is zero, unless it is infinite or NaN. */
  private boolean isFinite(int count) {
    Arrays.fill(probe, 0);
    for (int at = 0; at < count; at += PROBE) {
      int length = Math.min(PROBE, count - at);
      System.arraycopy(floats, at, probed, 0, length);
      addZeros(probe, probed, length);
    }
    for (float sum : probe) {
      if (sum != 0) {
        return false;
      }
    }
    return true;
  }

  private static void addZeros(float[] sums, float[] values, int count) {
    for (int i = 0; i < count; i++) {
      sums[i] += values[i] * 0f;
    }
  }

  private long clean(int count) {
    if (isFinite(count)) {
      return 0;
    }
    long found = 0;
    for (int i = 0; i < count; i++) {
      if (!Float.isFinite(floats[i])) {
        floats[i] = 0;
        found++;
      }
    }
    return found;
  }
}
