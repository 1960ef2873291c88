package io.portllm.internal.kernel;

import static java.nio.ByteOrder.LITTLE_ENDIAN;
import static jdk.incubator.vector.VectorOperators.GE;

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

  /** The least magnitude of {@link VectorAdder#lowF16} that stands for infinity or NaN. */
  private static final int F16_SPECIAL = 143 << 23;

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

  /** A lane of two vectors, as {@link FloatVector#rearrange(VectorShuffle, jdk.incubator.vector.Vector)} counts: the second's are negative. */
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

  /** Reads changes; false if there is anything infinite or NaN in F16, which these loops do not tell from numbers. */
  private boolean read(int first, int count) {
    if (operand instanceof Values values) {
      return read(values.dtype(), values.values(), first, change, count);
    }
    Difference difference = (Difference) operand;
    boolean finite =
        read(difference.tunedType(), difference.tuned(), first, change, count)
            && read(difference.baseType(), difference.base(), first, minus, count);
    for (int i = 0; i < count; i += LANES) {
      FloatVector.fromArray(F, change, i).sub(FloatVector.fromArray(F, minus, i)).intoArray(change, i);
    }
    return finite;
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
      VectorAdder.lowBf16(words).intoArray(target, i);
      VectorAdder.highBf16(words).intoArray(target, i + LANES);
    }
  }

  private static boolean f16(MemorySegment source, int first, float[] target, int count) {
    IntVector largest = IntVector.zero(I);
    for (int i = 0; i < count; i += 2 * LANES) {
      IntVector words = IntVector.fromMemorySegment(I, source, 2L * (first + i), LITTLE_ENDIAN);
      FloatVector low = VectorAdder.lowF16(words);
      FloatVector high = VectorAdder.highF16(words);
      largest = largest.max(VectorAdder.magnitude(low).max(VectorAdder.magnitude(high)));
      low.intoArray(target, i);
      high.intoArray(target, i + LANES);
    }
    return !largest.compare(GE, F16_SPECIAL).anyTrue();
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
