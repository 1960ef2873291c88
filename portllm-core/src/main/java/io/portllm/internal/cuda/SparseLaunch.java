package io.portllm.internal.cuda;

import io.portllm.DType;
import io.portllm.Merger.Values;
import java.nio.ByteBuffer;
import java.util.Arrays;

/** Changes of which most are zero. */
final class SparseLaunch implements Launch {
  /** Where fewer than one in so many changes are not zero, positions and values take fewer bytes than all changes. */
  private static final int SPARSE = 4;

  private final DType type;
  private final Values operand;
  private final long[] positions;
  private final long valuesAt;

  SparseLaunch(DType type, Values operand, long[] positions) {
    this.type = type;
    this.operand = operand;
    this.positions = positions;
    this.valuesAt = Area.align(8L * positions.length);
  }

  /** The elements whose change is not zero, counted from the start of the run; null if they are many, or the values are no F32. */
  static long[] positions(Values operand) {
    if (operand.dtype() != DType.F32) {
      return null;
    }
    long[] found = new long[operand.elements() / SPARSE];
    int count = 0;
    for (int i = 0; i < operand.elements(); i++) {
      // Zero of either sign.
      if (operand.values().getInt(4 * i) << 1 != 0) {
        if (count == found.length) {
          return null;
        }
        found[count++] = operand.start() + i;
      }
    }
    return Arrays.copyOf(found, count);
  }

  @Override
  public int bytes() {
    return Math.toIntExact(valuesAt + 4L * positions.length);
  }

  @Override
  public boolean writesAll() {
    return false;
  }

  @Override
  public void write(ByteBuffer host, int at) {
    int values = (int) (at + valuesAt);
    for (int i = 0; i < positions.length; i++) {
      host.putLong(at + 8 * i, positions[i]);
      host.putInt(values + 4 * i, operand.values().getInt((int) (4 * (positions[i] - operand.start()))));
    }
  }

  @Override
  public Starter starter() {
    DType weights = type;
    long at = valuesAt;
    int count = positions.length;
    float factor = (float) operand.factor();
    return (stream, source, target, area, counts) -> stream.mergeSparse(weights, source, target, area, area + at, count, factor, counts);
  }
}
