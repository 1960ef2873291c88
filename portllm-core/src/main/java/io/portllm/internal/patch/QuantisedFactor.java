package io.portllm.internal.patch;

import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Optional;

/**
 * A factor of a low-rank change that is stored in few bits, a row of codes for each rank, as the float32 matrix that it stands for: rank ×
 * in, or turned to out × rank. Decoded as it is read.
 */
public final class QuantisedFactor extends OneTensor {
  private final Delta.Quantised stored;
  private final boolean turned;

  private QuantisedFactor(String name, Delta.Quantised stored, boolean turned) {
    super(new TensorInfo(name, DType.F32, turned ? Shape.of(stored.shape().columns(), stored.shape().rows()) : stored.shape()));
    this.stored = stored;
    this.turned = turned;
  }

  /** The right factor, which is stored as it is. */
  public static Tensor right(String name, Delta.Quantised stored) {
    return new QuantisedFactor(name, stored, false).tensor();
  }

  /** The left factor, which is stored turned. */
  public static Tensor left(String name, Delta.Quantised stored) {
    return new QuantisedFactor(name, stored, true).tensor();
  }

  /** How a tensor is stored, if it is a right factor in few bits. */
  public static Optional<Delta.Quantised> storedRight(Tensor tensor) {
    return tensor.version() instanceof QuantisedFactor factor && !factor.turned ? Optional.of(factor.stored) : Optional.empty();
  }

  /** How a tensor is stored, if it is a left factor in few bits. */
  public static Optional<Delta.Quantised> storedLeft(Tensor tensor) {
    return tensor.version() instanceof QuantisedFactor factor && factor.turned ? Optional.of(factor.stored) : Optional.empty();
  }

  @Override
  protected void read(long offset, ByteBuffer destination) throws IOException {
    long first = offset / 4;
    int count = destination.remaining() / 4;
    float[] values = turned ? turned(first, count) : QuantisedValues.read(stored, first, count);
    destination.slice().order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().put(values);
    destination.position(destination.position() + 4 * count);
  }

  private float[] turned(long first, int count) throws IOException {
    int rank = Math.toIntExact(stored.shape().rows());
    long length = stored.shape().columns();
    float[] values = new float[count];
    if (count == 0) {
      return values;
    }
    long from = first / rank;
    int rows = Math.toIntExact((first + count - 1) / rank + 1 - from);
    for (int k = 0; k < rank; k++) {
      float[] vector = QuantisedValues.read(stored, k * length + from, rows);
      for (int row = 0; row < rows; row++) {
        long at = (from + row) * rank + k - first;
        if (at >= 0 && at < count) {
          values[(int) at] = vector[row];
        }
      }
    }
    return values;
  }

  @Override
  public void verifyUnchanged() throws IOException {
    stored.codes().version().verifyUnchanged();
    stored.scales().version().verifyUnchanged();
  }
}
