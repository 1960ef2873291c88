package io.portllm.internal.kernel;

import static java.nio.ByteOrder.LITTLE_ENDIAN;
import static jdk.incubator.vector.VectorOperators.GE;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.LSHR;
import static jdk.incubator.vector.VectorOperators.LT;
import static jdk.incubator.vector.VectorOperators.NE;

import io.portllm.DType;
import io.portllm.Merger.Chunk;
import io.portllm.Merger.Operand;
import io.portllm.Rounding;
import java.lang.foreign.MemorySegment;
import java.util.List;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorSpecies;

/**
 * Adds changes to BF16, F16 or F32 weights. Changes lie in an array, step by step: if weights have 16 bits, first those of a step's even
 * elements, then those of its odd ones, since two such weights are read as one word. A step in which anything is or becomes infinite or
 * NaN is left to {@link ScalarKernel}; the others then need no test but one for this.
 *
 * <p>Loops do one thing each and are written out, without a method of their own: where several ways lead to a vector, or a method was
 * compiled before its caller and so is not inlined, vectors become objects.
 */
final class VectorAdder {
  static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
  static final int LANES = F.length();

  static final VectorSpecies<Integer> I = F.vectorShape().withLanes(int.class);
  static final int MAGNITUDE = 0x7fff_ffff;
  static final int SIGN = ~MAGNITUDE;
  static final int UPPER_HALF = 0xffff_0000;

  /** Moves the bias of F16's exponents from 15 to 127, subnormals included; what is infinite or NaN becomes 2^16 or more. */
  static final float F16_SCALE = 0x1p112f;

  /** The least magnitudes that are infinite or NaN, or rounded to the nearest weight become so. */
  static final int F32_END = 0x7f80_0000;

  static final int BF16_END = 0x7f7f_8000;
  static final int F16_END = 0x477f_f000;

  /** Exponents of F32 are so much larger than those of F16, in their place. */
  private static final int F16_BIAS = 112 << 23;

  private static final int LEAST_NORMAL_F16 = 113 << 23;

  /** The bits of 0.5. */
  private static final int ONE_HALF = 0x3f00_0000;

  private final DType type;
  private final MemorySegment weights;
  private final float factor;
  private final BlockMerger.Singles scalar;
  private Rounding rounding = Rounding.NONE;
  private long touched;
  private long moved;

  /** Adds what an operand evaluates to, but for its factor, which is multiplied here. */
  VectorAdder(Chunk chunk, Operand operand) {
    this.type = chunk.dtype();
    this.weights = VectorKernel.segment(chunk.bytes());
    this.factor = (float) operand.factor();
    this.scalar = new BlockMerger.Singles(new ScalarKernel(), chunk, List.of(operand));
  }

  /** Whether there is a loop for a type. */
  static boolean isFor(DType type) {
    return type == DType.BF16 || type == DType.F16 || type == DType.F32;
  }

  /** Elements that are worked on at once. */
  static int step(DType type) {
    return type == DType.F32 ? LANES : 2 * LANES;
  }

  /** Adds {@code count} changes, whole steps, to the weights from {@code element} on; those of the array start at {@code changeAt}. */
  void add(int element, float[] changes, int changeAt, int count) {
    for (int at = 0; at < count; ) {
      at = loop(element, changes, changeAt, at, count);
      if (at < count) {
        addScalar(element + at, step(type));
        at += step(type);
      }
    }
  }

  /** Evaluates and adds {@code count} changes without vectors. */
  void addScalar(int element, int count) {
    rounding = rounding.plus(scalar.merge(element, element + count));
  }

  /** What all that was added did. */
  Rounding rounding() {
    return new Rounding(touched, touched - moved, 0, 0).plus(rounding);
  }

  /** Goes on to the first step that holds anything infinite or NaN, and returns where that is. */
  private int loop(int element, float[] changes, int changeAt, int from, int to) {
    return switch (type) {
      case BF16 -> bf16(element, changes, changeAt, from, to);
      case F16 -> f16(element, changes, changeAt, from, to);
      default -> f32(element, changes, changeAt, from, to);
    };
  }

  private int bf16(int element, float[] changes, int changeAt, int from, int to) {
    MemorySegment target = weights;
    float times = factor;
    long nonZero = 0;
    long different = 0;
    int i = from;
    for (; i < to; i += 2 * LANES) {
      IntVector old = IntVector.fromMemorySegment(I, target, 2L * (element + i), LITTLE_ENDIAN);
      FloatVector lowChange = FloatVector.fromArray(F, changes, changeAt + i).mul(times);
      FloatVector highChange = FloatVector.fromArray(F, changes, changeAt + i + LANES).mul(times);
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
      result.intoMemorySegment(target, 2L * (element + i), LITTLE_ENDIAN);
      nonZero += lowTouched.trueCount() + highTouched.trueCount();
      different += result.reinterpretAsShorts().compare(NE, old.reinterpretAsShorts()).trueCount();
    }
    touched += nonZero;
    moved += different;
    return i;
  }

  private int f16(int element, float[] changes, int changeAt, int from, int to) {
    MemorySegment target = weights;
    float times = factor;
    long nonZero = 0;
    long different = 0;
    int i = from;
    for (; i < to; i += 2 * LANES) {
      IntVector old = IntVector.fromMemorySegment(I, target, 2L * (element + i), LITTLE_ENDIAN);
      IntVector lowBits = old.and(0x7fff).lanewise(LSHL, 13).or(old.lanewise(LSHL, 16).and(SIGN));
      IntVector highBits = old.lanewise(LSHR, 3).and(0x7fff << 13).or(old.and(SIGN));
      FloatVector lowOld = lowBits.reinterpretAsFloats().mul(F16_SCALE);
      FloatVector highOld = highBits.reinterpretAsFloats().mul(F16_SCALE);
      FloatVector lowChange = FloatVector.fromArray(F, changes, changeAt + i).mul(times);
      FloatVector highChange = FloatVector.fromArray(F, changes, changeAt + i + LANES).mul(times);
      IntVector lowSum = lowOld.add(lowChange).reinterpretAsInts();
      IntVector highSum = highOld.add(highChange).reinterpretAsInts();
      IntVector lowMagnitude = lowSum.and(MAGNITUDE);
      IntVector highMagnitude = highSum.and(MAGNITUDE);
      IntVector oldMagnitude = lowOld.reinterpretAsInts().and(MAGNITUDE).max(highOld.reinterpretAsInts().and(MAGNITUDE));
      if (oldMagnitude.max(lowMagnitude).max(highMagnitude).compare(GE, F16_END).anyTrue()) {
        break;
      }
      IntVector lowNormal = lowMagnitude.sub(F16_BIAS);
      IntVector highNormal = highMagnitude.sub(F16_BIAS);
      IntVector lowNearest = lowNormal.add(lowNormal.lanewise(LSHR, 13).and(1)).add(0xfff).lanewise(LSHR, 13);
      IntVector highNearest = highNormal.add(highNormal.lanewise(LSHR, 13).and(1)).add(0xfff).lanewise(LSHR, 13);
      // One half has the least subnormal in its last place, so that the addition itself rounds to nearest, ties to even.
      IntVector lowSubnormal = lowMagnitude.reinterpretAsFloats().add(0.5f).reinterpretAsInts().sub(ONE_HALF);
      IntVector highSubnormal = highMagnitude.reinterpretAsFloats().add(0.5f).reinterpretAsInts().sub(ONE_HALF);
      IntVector lowCode = lowNearest.blend(lowSubnormal, lowMagnitude.compare(LT, LEAST_NORMAL_F16));
      IntVector highCode = highNearest.blend(highSubnormal, highMagnitude.compare(LT, LEAST_NORMAL_F16));
      IntVector lowRounded = lowCode.or(lowSum.lanewise(LSHR, 16).and(0x8000));
      IntVector highRounded = highCode.lanewise(LSHL, 16).or(highSum.and(SIGN));
      VectorMask<Integer> lowTouched = lowChange.compare(NE, 0f).cast(I);
      VectorMask<Integer> highTouched = highChange.compare(NE, 0f).cast(I);
      IntVector result = old.blend(lowRounded, lowTouched).and(0xffff).or(old.blend(highRounded, highTouched).and(UPPER_HALF));
      result.intoMemorySegment(target, 2L * (element + i), LITTLE_ENDIAN);
      nonZero += lowTouched.trueCount() + highTouched.trueCount();
      different += result.reinterpretAsShorts().compare(NE, old.reinterpretAsShorts()).trueCount();
    }
    touched += nonZero;
    moved += different;
    return i;
  }

  private int f32(int element, float[] changes, int changeAt, int from, int to) {
    MemorySegment target = weights;
    float times = factor;
    long nonZero = 0;
    long different = 0;
    int i = from;
    for (; i < to; i += LANES) {
      IntVector old = IntVector.fromMemorySegment(I, target, 4L * (element + i), LITTLE_ENDIAN);
      FloatVector change = FloatVector.fromArray(F, changes, changeAt + i).mul(times);
      IntVector sum = old.reinterpretAsFloats().add(change).reinterpretAsInts();
      if (sum.and(MAGNITUDE).compare(GE, F32_END).anyTrue()) {
        break;
      }
      VectorMask<Integer> isTouched = change.compare(NE, 0f).cast(I);
      IntVector result = old.blend(sum, isTouched);
      result.intoMemorySegment(target, 4L * (element + i), LITTLE_ENDIAN);
      nonZero += isTouched.trueCount();
      different += result.compare(NE, old).trueCount();
    }
    touched += nonZero;
    moved += different;
    return i;
  }
}
