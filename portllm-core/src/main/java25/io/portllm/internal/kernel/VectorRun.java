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
 * words of two elements, the lower of which become float32 by a shift and the upper by a mask. Weights that are or become infinite or NaN
 * are left to the scalar loops, step by step, so that the others need no test but one for their presence.
 */
final class VectorRun {
  private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
  private static final VectorSpecies<Integer> I = F.vectorShape().withLanes(int.class);
  private static final int LANES = F.length();
  static final int MAGNITUDE = 0x7fff_ffff;

  /** The least magnitude that rounds to an infinite BF16. */
  static final int BF16_OVERFLOW = 0x7f7f_8000;

  static final int INFINITY = 0x7f80_0000;

  private final Chunk chunk;
  private final Operand operand;
  private final MemorySegment weights;
  private final long first;
  private final MemorySegment change;
  private final MemorySegment minus;
  private final float factor;
  private long touched;
  private long moved;

  /** Whether a change to weights of {@code type}, BF16 or F32, can be added so. */
  static boolean isFor(DType type, Operand operand) {
    return operand instanceof Values values && values.dtype() == type
        || operand instanceof Difference difference && difference.tunedType() == type && difference.baseType() == type;
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
    return chunk.dtype() == DType.BF16 ? bf16(from, to) : f32(from, to);
  }

  /** The loops hold all that they do but for the smallest of methods: vectors that are passed to others may get to be objects. */
  private int bf16(int from, int to) {
    MemorySegment target = weights;
    MemorySegment values = change;
    MemorySegment base = minus;
    boolean subtract = base != null;
    float times = factor;
    long offset = first;
    long nonZero = 0;
    long different = 0;
    int i = from;
    for (; i < to; i += 2 * LANES) {
      IntVector old = IntVector.fromMemorySegment(I, target, offset + 2L * i, LITTLE_ENDIAN);
      IntVector words = IntVector.fromMemorySegment(I, values, 2L * i, LITTLE_ENDIAN);
      FloatVector lowChange = low(words);
      FloatVector highChange = high(words);
      if (subtract) {
        IntVector less = IntVector.fromMemorySegment(I, base, 2L * i, LITTLE_ENDIAN);
        lowChange = lowChange.sub(low(less));
        highChange = highChange.sub(high(less));
      }
      lowChange = lowChange.mul(times);
      highChange = highChange.mul(times);
      IntVector lowSum = low(old).add(lowChange).reinterpretAsInts();
      IntVector highSum = high(old).add(highChange).reinterpretAsInts();
      // What is added to an infinity or a NaN gives one.
      if (lowSum.and(MAGNITUDE).max(highSum.and(MAGNITUDE)).compare(GE, BF16_OVERFLOW).anyTrue()) {
        break;
      }
      VectorMask<Integer> lowTouched = lowChange.compare(NE, 0f).cast(I);
      VectorMask<Integer> highTouched = highChange.compare(NE, 0f).cast(I);
      IntVector lowNew = old.lanewise(LSHL, 16).blend(rounded(lowSum), lowTouched);
      IntVector result = lowNew.lanewise(LSHR, 16).or(old.blend(rounded(highSum), highTouched).and(0xffff_0000));
      result.intoMemorySegment(target, offset + 2L * i, LITTLE_ENDIAN);
      nonZero += lowTouched.trueCount() + highTouched.trueCount();
      different += result.reinterpretAsShorts().compare(NE, old.reinterpretAsShorts()).trueCount();
    }
    touched += nonZero;
    moved += different;
    return i;
  }

  private int f32(int from, int to) {
    MemorySegment target = weights;
    MemorySegment values = change;
    MemorySegment base = minus;
    boolean subtract = base != null;
    float times = factor;
    long offset = first;
    long nonZero = 0;
    long different = 0;
    int i = from;
    for (; i < to; i += LANES) {
      IntVector old = IntVector.fromMemorySegment(I, target, offset + 4L * i, LITTLE_ENDIAN);
      FloatVector added = FloatVector.fromMemorySegment(F, values, 4L * i, LITTLE_ENDIAN);
      if (subtract) {
        added = added.sub(FloatVector.fromMemorySegment(F, base, 4L * i, LITTLE_ENDIAN));
      }
      added = added.mul(times);
      IntVector sum = old.reinterpretAsFloats().add(added).reinterpretAsInts();
      if (sum.and(MAGNITUDE).compare(GE, INFINITY).anyTrue()) {
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

  static FloatVector low(IntVector words) {
    return words.lanewise(LSHL, 16).reinterpretAsFloats();
  }

  static FloatVector high(IntVector words) {
    return words.and(0xffff_0000).reinterpretAsFloats();
  }

  /** Finite bits, of which the upper half becomes that of the nearest BF16, ties to even. */
  static IntVector rounded(IntVector bits) {
    return bits.add(bits.lanewise(LSHR, 16).and(1)).add(0x7fff);
  }
}
