package io.portllm.internal.kernel;

import io.portllm.DType;
import io.portllm.Merger.Chunk;
import io.portllm.Merger.Difference;
import io.portllm.Merger.LowRank;
import io.portllm.Merger.Operand;
import io.portllm.Merger.Values;
import io.portllm.Rounding;
import io.portllm.testing.Codes;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;

/** The contract of {@link io.portllm.Merger} read literally, one element at a time, on values found by definition. */
final class NaiveMerger {
  private long touched;
  private long vanished;
  private long overflowed;
  private long nonFinite;

  private NaiveMerger() {}

  /** Merges in place. A NaN result gets the bits of some NaN. */
  static Rounding merge(Chunk chunk, List<Operand> operands) {
    NaiveMerger counts = new NaiveMerger();
    for (int i = 0; i < chunk.elements(); i++) {
      if (chunk.dtype() == DType.F64) {
        counts.doubleElement(chunk, operands, i);
      } else {
        counts.floatElement(chunk, operands, i);
      }
    }
    return new Rounding(counts.touched, counts.vanished, counts.overflowed, counts.nonFinite);
  }

  private void floatElement(Chunk chunk, List<Operand> operands, int i) {
    float sum = 0;
    for (Operand operand : operands) {
      int at = i - operand.start();
      if (at >= 0 && at < operand.elements()) {
        float factor = (float) operand.factor();
        float product = floatChange(operand, at) * factor;
        sum = sum + product;
      }
    }
    double weight = Codes.get(chunk.dtype(), chunk.bytes(), i);
    if (sum == 0 || !Double.isFinite(weight)) {
      return;
    }
    touched++;
    ByteBuffer before = element(chunk, i);
    float result = (float) weight + sum;
    Codes.put(chunk.dtype(), chunk.bytes(), i, result);
    if (element(chunk, i).equals(before)) {
      vanished++;
    } else if (!Float.isFinite(result)) {
      nonFinite++;
    } else if (!Double.isFinite(Codes.get(chunk.dtype(), chunk.bytes(), i))) {
      overflowed++;
    }
  }

  private static float floatChange(Operand operand, int at) {
    if (operand instanceof Values values) {
      return (float) Codes.get(values.dtype(), values.values(), at);
    }
    if (operand instanceof Difference difference) {
      double tuned = Codes.get(difference.tunedType(), difference.tuned(), at);
      double base = Codes.get(difference.baseType(), difference.base(), at);
      boolean wide = difference.tunedType() == DType.F64 || difference.baseType() == DType.F64;
      return wide ? (float) (tuned - base) : (float) tuned - (float) base;
    }
    LowRank product = (LowRank) operand;
    int row = (product.column() + at) / product.columns();
    int column = (product.column() + at) % product.columns();
    float sum = 0;
    for (int k = 0; k < product.rank(); k++) {
      float one = product.left()[row * product.rank() + k] * product.right()[k * product.columns() + column];
      sum = sum + one;
    }
    return sum;
  }

  private void doubleElement(Chunk chunk, List<Operand> operands, int i) {
    double sum = 0;
    for (Operand operand : operands) {
      int at = i - operand.start();
      if (at >= 0 && at < operand.elements()) {
        double product = doubleChange(operand, at) * operand.factor();
        sum = sum + product;
      }
    }
    double weight = Codes.get(DType.F64, chunk.bytes(), i);
    if (sum == 0 || !Double.isFinite(weight)) {
      return;
    }
    touched++;
    Codes.put(DType.F64, chunk.bytes(), i, weight + sum);
    if (weight + sum == weight) {
      vanished++;
    } else if (!Double.isFinite(weight + sum)) {
      nonFinite++;
    }
  }

  private static double doubleChange(Operand operand, int at) {
    if (operand instanceof Values values) {
      return Codes.get(values.dtype(), values.values(), at);
    }
    if (operand instanceof Difference difference) {
      double tuned = Codes.get(difference.tunedType(), difference.tuned(), at);
      double base = Codes.get(difference.baseType(), difference.base(), at);
      boolean wide = difference.tunedType() == DType.F64 || difference.baseType() == DType.F64;
      return wide ? tuned - base : (float) tuned - (float) base;
    }
    LowRank product = (LowRank) operand;
    int row = (product.column() + at) / product.columns();
    int column = (product.column() + at) % product.columns();
    double sum = 0;
    for (int k = 0; k < product.rank(); k++) {
      double one = (double) product.left()[row * product.rank() + k] * product.right()[k * product.columns() + column];
      sum = sum + one;
    }
    return sum;
  }

  private static ByteBuffer element(Chunk chunk, int i) {
    int size = chunk.dtype().bytes();
    ByteBuffer copy = ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
    return copy.put(chunk.bytes().slice(i * size, size)).flip();
  }
}
