package io.portllm.internal.kernel;

import static java.nio.ByteOrder.LITTLE_ENDIAN;
import static jdk.incubator.vector.VectorOperators.GE;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.LSHR;
import static jdk.incubator.vector.VectorOperators.NE;

import io.portllm.DType;
import io.portllm.Merger.Chunk;
import io.portllm.Merger.Difference;
import io.portllm.Merger.Operand;
import io.portllm.Merger.Values;
import io.portllm.Rounding;
import java.lang.foreign.MemorySegment;
import java.util.List;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorSpecies;

/**
 * Adds stored values or a difference to weights of the same type, BF16 or F32, in one pass that writes nothing in between. BF16 is read as
 * words of two elements, the lower of which become float32 by a shift and the upper by a mask. As with {@link VectorAdder}, steps that hold
 * anything infinite or NaN are left to {@link ScalarKernel}, and loops are written out.
 */
final class VectorRun {
  private static final VectorSpecies<Float> F = VectorAdder.F;
  private static final VectorSpecies<Integer> I = VectorAdder.I;
  private static final int LANES = VectorAdder.LANES;
  private static final int MAGNITUDE = VectorAdder.MAGNITUDE;
  private static final int UPPER_HALF = VectorAdder.UPPER_HALF;
  private static final int BF16_END = VectorAdder.BF16_END;
  private static final int F32_END = VectorAdder.F32_END;

  private final Chunk chunk;
  private final Operand operand;
  private final MemorySegment weights;
  private final long first;
  private final MemorySegment change;
  private final MemorySegment minus;
  private final float factor;
  private long touched;
  private long moved;

  /** Whether a change to weights of {@code type} can be added so. */
  static boolean isFor(DType type, Operand operand) {
    return (type == DType.BF16 || type == DType.F32)
        && (operand instanceof Values values && values.dtype() == type
            || operand instanceof Difference difference && difference.tunedType() == type && difference.baseType() == type);
  }

  VectorRun(Chunk chunk, Operand operand) {
    this.chunk = chunk;
    this.operand = operand;
    this.weights = VectorKernel.segment(chunk.bytes());
    this.first = (long) operand.start() * chunk.dtype().bytes();
    this.change = VectorKernel.segment(operand instanceof Difference difference ? difference.tuned() : ((Values) operand).values());
    this.minus = operand instanceof Difference difference ? VectorKernel.segment(difference.base()) : null;
    this.factor = (float) operand.factor();
  }

  Rounding merge() {
    int step = chunk.dtype() == DType.BF16 ? 2 * LANES : LANES;
    int whole = operand.elements() - operand.elements() % step;
    Rounding scalar = Rounding.NONE;
    BlockMerger.Singles singles = null;
    for (int at = 0; at < operand.elements(); ) {
      at = loop(at, whole);
      if (at < operand.elements()) {
        singles = singles == null ? new BlockMerger.Singles(new ScalarKernel(), chunk, List.of(operand)) : singles;
        int end = Math.min(at + step, operand.elements());
        scalar = scalar.plus(singles.merge(operand.start() + at, operand.start() + end));
        at = end;
      }
    }
    return new Rounding(touched, touched - moved, 0, 0).plus(scalar);
  }

  /** Goes from an element on to the first step that holds anything infinite or NaN, and returns where that is. */
  private int loop(int from, int to) {
    if (chunk.dtype() == DType.BF16) {
      return minus == null ? valuesBf16(from, to) : differenceBf16(from, to);
    }
    return minus == null ? valuesF32(from, to) : differenceF32(from, to);
  }

  private int differenceBf16(int from, int to) {
    MemorySegment target = weights;
    MemorySegment tuned = change;
    MemorySegment base = minus;
    float times = factor;
    long offset = first;
    long nonZero = 0;
    long different = 0;
    int i = from;
    for (; i < to; i += 2 * LANES) {
      IntVector old = IntVector.fromMemorySegment(I, target, offset + 2L * i, LITTLE_ENDIAN);
      IntVector words = IntVector.fromMemorySegment(I, tuned, 2L * i, LITTLE_ENDIAN);
      IntVector less = IntVector.fromMemorySegment(I, base, 2L * i, LITTLE_ENDIAN);
      FloatVector lowChange =
          words.lanewise(LSHL, 16).reinterpretAsFloats().sub(less.lanewise(LSHL, 16).reinterpretAsFloats()).mul(times);
      FloatVector highChange = words.and(UPPER_HALF).reinterpretAsFloats().sub(less.and(UPPER_HALF).reinterpretAsFloats()).mul(times);
      IntVector lowSum = old.lanewise(LSHL, 16).reinterpretAsFloats().add(lowChange).reinterpretAsInts();
      IntVector highSum = old.and(UPPER_HALF).reinterpretAsFloats().add(highChange).reinterpretAsInts();
      // What is added to an infinity or a NaN gives one.
      if (lowSum.and(MAGNITUDE).max(highSum.and(MAGNITUDE)).compare(GE, BF16_END).anyTrue()) {
        break;
      }
      VectorMask<Integer> lowTouched = lowChange.compare(NE, 0f).cast(I);
      VectorMask<Integer> highTouched = highChange.compare(NE, 0f).cast(I);
      IntVector lowRounded = lowSum.add(lowSum.lanewise(LSHR, 16).and(1)).add(0x7fff);
      IntVector highRounded = highSum.add(highSum.lanewise(LSHR, 16).and(1)).add(0x7fff);
      IntVector lowNew = old.lanewise(LSHL, 16).blend(lowRounded, lowTouched).lanewise(LSHR, 16);
      IntVector result = lowNew.or(old.blend(highRounded, highTouched).and(UPPER_HALF));
      result.intoMemorySegment(target, offset + 2L * i, LITTLE_ENDIAN);
      nonZero += lowTouched.trueCount() + highTouched.trueCount();
      different += result.reinterpretAsShorts().compare(NE, old.reinterpretAsShorts()).trueCount();
    }
    touched += nonZero;
    moved += different;
    return i;
  }

  private int valuesBf16(int from, int to) {
    MemorySegment target = weights;
    MemorySegment values = change;
    float times = factor;
    long offset = first;
    long nonZero = 0;
    long different = 0;
    int i = from;
    for (; i < to; i += 2 * LANES) {
      IntVector old = IntVector.fromMemorySegment(I, target, offset + 2L * i, LITTLE_ENDIAN);
      IntVector words = IntVector.fromMemorySegment(I, values, 2L * i, LITTLE_ENDIAN);
      FloatVector lowChange = words.lanewise(LSHL, 16).reinterpretAsFloats().mul(times);
      FloatVector highChange = words.and(UPPER_HALF).reinterpretAsFloats().mul(times);
      IntVector lowSum = old.lanewise(LSHL, 16).reinterpretAsFloats().add(lowChange).reinterpretAsInts();
      IntVector highSum = old.and(UPPER_HALF).reinterpretAsFloats().add(highChange).reinterpretAsInts();
      // What is added to an infinity or a NaN gives one.
      if (lowSum.and(MAGNITUDE).max(highSum.and(MAGNITUDE)).compare(GE, BF16_END).anyTrue()) {
        break;
      }
      VectorMask<Integer> lowTouched = lowChange.compare(NE, 0f).cast(I);
      VectorMask<Integer> highTouched = highChange.compare(NE, 0f).cast(I);
      IntVector lowRounded = lowSum.add(lowSum.lanewise(LSHR, 16).and(1)).add(0x7fff);
      IntVector highRounded = highSum.add(highSum.lanewise(LSHR, 16).and(1)).add(0x7fff);
      IntVector lowNew = old.lanewise(LSHL, 16).blend(lowRounded, lowTouched).lanewise(LSHR, 16);
      IntVector result = lowNew.or(old.blend(highRounded, highTouched).and(UPPER_HALF));
      result.intoMemorySegment(target, offset + 2L * i, LITTLE_ENDIAN);
      nonZero += lowTouched.trueCount() + highTouched.trueCount();
      different += result.reinterpretAsShorts().compare(NE, old.reinterpretAsShorts()).trueCount();
    }
    touched += nonZero;
    moved += different;
    return i;
  }

  private int differenceF32(int from, int to) {
    MemorySegment target = weights;
    MemorySegment tuned = change;
    MemorySegment base = minus;
    float times = factor;
    long offset = first;
    long nonZero = 0;
    long different = 0;
    int i = from;
    for (; i < to; i += LANES) {
      IntVector old = IntVector.fromMemorySegment(I, target, offset + 4L * i, LITTLE_ENDIAN);
      FloatVector less = FloatVector.fromMemorySegment(F, base, 4L * i, LITTLE_ENDIAN);
      FloatVector added = FloatVector.fromMemorySegment(F, tuned, 4L * i, LITTLE_ENDIAN).sub(less).mul(times);
      IntVector sum = old.reinterpretAsFloats().add(added).reinterpretAsInts();
      if (sum.and(MAGNITUDE).compare(GE, F32_END).anyTrue()) {
        break;
      }
      VectorMask<Integer> isNonZero = added.compare(NE, 0f).cast(I);
      IntVector result = old.blend(sum, isNonZero);
      result.intoMemorySegment(target, offset + 4L * i, LITTLE_ENDIAN);
      nonZero += isNonZero.trueCount();
      different += result.compare(NE, old).trueCount();
    }
    touched += nonZero;
    moved += different;
    return i;
  }

  private int valuesF32(int from, int to) {
    MemorySegment target = weights;
    MemorySegment values = change;
    float times = factor;
    long offset = first;
    long nonZero = 0;
    long different = 0;
    int i = from;
    for (; i < to; i += LANES) {
      IntVector old = IntVector.fromMemorySegment(I, target, offset + 4L * i, LITTLE_ENDIAN);
      FloatVector added = FloatVector.fromMemorySegment(F, values, 4L * i, LITTLE_ENDIAN).mul(times);
      IntVector sum = old.reinterpretAsFloats().add(added).reinterpretAsInts();
      if (sum.and(MAGNITUDE).compare(GE, F32_END).anyTrue()) {
        break;
      }
      VectorMask<Integer> isNonZero = added.compare(NE, 0f).cast(I);
      IntVector result = old.blend(sum, isNonZero);
      result.intoMemorySegment(target, offset + 4L * i, LITTLE_ENDIAN);
      nonZero += isNonZero.trueCount();
      different += result.compare(NE, old).trueCount();
    }
    touched += nonZero;
    moved += different;
    return i;
  }
}
