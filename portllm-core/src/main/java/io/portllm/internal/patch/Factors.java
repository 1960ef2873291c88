package io.portllm.internal.patch;

import com.google.common.cache.Cache;
import com.google.common.cache.CacheBuilder;
import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.Tensor;
import io.portllm.internal.kernel.Floats;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * The factors of low-rank changes as float32. The right factor of a tensor is needed by each of its chunks, so the last few are kept.
 */
final class Factors {
  /** Floats kept in all: 32 MB, enough for a rank of 256 on the widest layers of a 405 B model twice. */
  private static final int KEPT = 8 << 20;

  private final Cache<Delta.LowRank, float[]> rights =
      CacheBuilder.newBuilder().concurrencyLevel(1).maximumWeight(KEPT).<Delta.LowRank, float[]>weigher((delta, values) -> values.length).build();

  /** The right factor, rank × columns of the weight, row-major. */
  float[] right(Delta.LowRank delta) throws IOException {
    float[] values = rights.getIfPresent(delta);
    if (values == null) {
      values = delta.transposed() ? transpose(all(delta.b()), delta.rank()) : all(delta.a());
      rights.put(delta, values);
    }
    return values;
  }

  /** Rows {@code from} to {@code to} (exclusive) of the left factor, each of rank values. */
  float[] left(Delta.LowRank delta, long from, long to) throws IOException {
    int rank = delta.rank();
    int rows = (int) (to - from);
    if (!delta.transposed()) {
      return read(delta.b(), from * rank, rows * rank);
    }
    float[] left = new float[rows * rank];
    long in = delta.shape().rows();
    for (int k = 0; k < rank; k++) {
      float[] column = read(delta.a(), k * in + from, rows);
      for (int row = 0; row < rows; row++) {
        left[row * rank + k] = column[row];
      }
    }
    return left;
  }

  private static float[] transpose(float[] matrix, int columns) {
    int rows = columns == 0 ? 0 : matrix.length / columns;
    float[] transposed = new float[matrix.length];
    for (int row = 0; row < rows; row++) {
      for (int column = 0; column < columns; column++) {
        transposed[column * rows + row] = matrix[row * columns + column];
      }
    }
    return transposed;
  }

  private static float[] all(Tensor tensor) throws IOException {
    return read(tensor, 0, Math.toIntExact(tensor.info().elements()));
  }

  private static float[] read(Tensor tensor, long start, int count) throws IOException {
    DType type = tensor.info().dtype();
    ByteBuffer bytes = ByteBuffer.allocate(Math.multiplyExact(count, type.bytes())).order(ByteOrder.LITTLE_ENDIAN);
    tensor.read(start * type.bytes(), bytes);
    float[] values = new float[count];
    Floats.read(type, bytes, 0, values, count, new int[count]);
    return values;
  }
}
