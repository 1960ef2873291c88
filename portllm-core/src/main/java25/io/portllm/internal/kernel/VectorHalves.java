package io.portllm.internal.kernel;

import static java.nio.ByteOrder.LITTLE_ENDIAN;
import static jdk.incubator.vector.VectorOperators.GE;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.LSHR;

import io.portllm.DType;
import io.portllm.Merger.Chunk;
import io.portllm.Merger.Difference;
import io.portllm.Merger.Operand;
import io.portllm.Merger.Values;
import io.portllm.Rounding;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;

/**
 * Adds stored values or a difference, of BF16, F16 or F32, to weights of 16 bits, block by block: each is read into an array in the order
 * of {@link VectorAdder}.
 */
final class VectorHalves {
  private static final VectorSpecies<Float> F = VectorAdder.F;
  private static final VectorSpecies<Integer> I = VectorAdder.I;
  private static final int LANES = VectorAdder.LANES;
  private static final int BLOCK = 1024;
  private static final VectorShuffle<Float> EVEN = VectorShuffle.fromOp(F, lane -> from(2 * lane));
  private static final VectorShuffle<Float> ODD = VectorShuffle.fromOp(F, lane -> from(2 * lane + 1));

  private static final int SIGN = VectorAdder.SIGN;

  /** The bits of F16's infinity, where its fraction has float32's place. */
  private static final int F16_SPECIAL = 0x7c00 << 13;

  private final Operand operand;
  private final VectorAdder adder;
  private final float[] change = new float[BLOCK];
  private final float[] minus = new float[BLOCK];

  /** Whether a change to weights of {@code type} can be added so. */
  static boolean isFor(DType type, Operand operand) {
    return type != DType.F32
        && VectorAdder.isFor(type)
        && (operand instanceof Values values && VectorAdder.isFor(values.dtype())
            || operand instanceof Difference difference
                && VectorAdder.isFor(difference.tunedType())
                && VectorAdder.isFor(difference.baseType()));
  }

  VectorHalves(Chunk chunk, Operand operand) {
    this.operand = operand;
    this.adder = new VectorAdder(chunk, operand);
  }

  /** A lane of two vectors, as {@link FloatVector#rearrange(VectorShuffle, jdk.incubator.vector.Vector)} has it: negative in the second. */
  private static int from(int lane) {
    return lane < LANES ? lane : lane - 2 * LANES;
  }

  Rounding merge() {
    int whole = operand.elements() - operand.elements() % (2 * LANES);
    for (int at = 0; at < whole; at += BLOCK) {
      int count = Math.min(BLOCK, whole - at);
      if (read(at, count)) {
        adder.add(operand.start() + at, change, 0, count);
      } else {
        adder.addScalar(operand.start() + at, count);
      }
    }
    adder.addScalar(operand.start() + whole, operand.elements() - whole);
    return adder.rounding();
  }

  /** Reads changes; false if there is anything infinite or NaN in F16, which is not widened. */
  private boolean read(int first, int count) {
    if (operand instanceof Values values) {
      return read(values.dtype(), values.values(), first, change, count);
    }
    Difference difference = (Difference) operand;
    boolean finite =
        read(difference.tunedType(), difference.tuned(), first, change, count)
            && read(difference.baseType(), difference.base(), first, minus, count);
    subtract(change, minus, count);
    return finite;
  }

  private static void subtract(float[] values, float[] minus, int count) {
    for (int i = 0; i < count; i += LANES) {
      FloatVector.fromArray(F, values, i).sub(FloatVector.fromArray(F, minus, i)).intoArray(values, i);
    }
  }

  private static boolean read(DType type, ByteBuffer source, int first, float[] target, int count) {
    MemorySegment segment = VectorKernel.segment(source);
    switch (type) {
      case BF16 -> bf16(segment, first, target, count);
      case F16 -> {
        return f16(segment, first, target, count);
      }
      default -> f32(segment, first, target, count);
    }
    return true;
  }

  private static void bf16(MemorySegment source, int first, float[] target, int count) {
    for (int i = 0; i < count; i += 2 * LANES) {
      IntVector words = IntVector.fromMemorySegment(I, source, 2L * (first + i), LITTLE_ENDIAN);
      words.lanewise(LSHL, 16).reinterpretAsFloats().intoArray(target, i);
      words.and(VectorAdder.UPPER_HALF).reinterpretAsFloats().intoArray(target, i + LANES);
    }
  }

  private static boolean f16(MemorySegment source, int first, float[] target, int count) {
    for (int i = 0; i < count; i += 2 * LANES) {
      IntVector words = IntVector.fromMemorySegment(I, source, 2L * (first + i), LITTLE_ENDIAN);
      IntVector lowMagnitude = words.and(0x7fff).lanewise(LSHL, 13);
      IntVector highMagnitude = words.lanewise(LSHR, 3).and(0x7fff << 13);
      if (lowMagnitude.max(highMagnitude).compare(GE, F16_SPECIAL).anyTrue()) {
        return false;
      }
      FloatVector low = lowMagnitude.or(words.lanewise(LSHL, 16).and(SIGN)).reinterpretAsFloats().mul(VectorAdder.F16_SCALE);
      FloatVector high = highMagnitude.or(words.and(SIGN)).reinterpretAsFloats().mul(VectorAdder.F16_SCALE);
      low.intoArray(target, i);
      high.intoArray(target, i + LANES);
    }
    return true;
  }

  private static void f32(MemorySegment source, int first, float[] target, int count) {
    for (int i = 0; i < count; i += 2 * LANES) {
      FloatVector one = FloatVector.fromMemorySegment(F, source, 4L * (first + i), LITTLE_ENDIAN);
      FloatVector two = FloatVector.fromMemorySegment(F, source, 4L * (first + i + LANES), LITTLE_ENDIAN);
      one.rearrange(EVEN, two).intoArray(target, i);
      one.rearrange(ODD, two).intoArray(target, i + LANES);
    }
  }
}
