package io.portllm.internal.kernel;

import static java.nio.ByteOrder.LITTLE_ENDIAN;
import static jdk.incubator.vector.VectorOperators.EQ;
import static jdk.incubator.vector.VectorOperators.I2B;
import static jdk.incubator.vector.VectorOperators.I2S;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.LSHR;
import static jdk.incubator.vector.VectorOperators.LT;
import static jdk.incubator.vector.VectorOperators.NE;
import static jdk.incubator.vector.VectorOperators.ZERO_EXTEND_B2I;
import static jdk.incubator.vector.VectorOperators.ZERO_EXTEND_S2I;

import io.portllm.DType;
import io.portllm.Rounding;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/**
 * The loops with the Vector API. Multiplications and additions are never fused and keep their order, so that the bits are those of
 * {@link ScalarKernel}, which also does what is left over at the end of a run.
 */
final class VectorKernel implements BlockKernel {
  private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
  private static final VectorSpecies<Integer> I = VectorSpecies.of(int.class, F.vectorShape());
  private static final VectorSpecies<Short> S = VectorSpecies.of(short.class, VectorShape.forBitSize(Math.max(64, F.vectorBitSize() / 2)));
  private static final VectorSpecies<Byte> B = VectorSpecies.of(byte.class, VectorShape.forBitSize(Math.max(64, F.vectorBitSize() / 4)));
  private static final int LANES = F.length();
  private static final ValueLayout.OfFloat FLOATS = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(LITTLE_ENDIAN);

  private final ScalarKernel scalar = new ScalarKernel();
  private final float[] other = new float[BLOCK];
  private final float[] tail = new float[BLOCK];

  /** Whether vectors are wide enough for these loops: 256 bits or more. */
  static boolean isWide() {
    return F.vectorBitSize() >= 256;
  }

  static MemorySegment segment(ByteBuffer buffer) {
    return MemorySegment.ofBuffer(buffer.position() == 0 ? buffer : buffer.duplicate().position(0));
  }

  /** Elements of a run that whole vectors cover. */
  private static int whole(int count) {
    return count - count % LANES;
  }

  private static IntVector shorts(MemorySegment source, long at) {
    return (IntVector) ShortVector.fromMemorySegment(S, source, at, LITTLE_ENDIAN).convertShape(ZERO_EXTEND_S2I, I, 0);
  }

  private static IntVector bytes(MemorySegment source, long at) {
    return (IntVector) ByteVector.fromMemorySegment(B, source, at, LITTLE_ENDIAN).convertShape(ZERO_EXTEND_B2I, I, 0);
  }

  private static void putShorts(IntVector bits, MemorySegment target, long at) {
    ((ShortVector) bits.convertShape(I2S, S, 0)).intoMemorySegment(target, at, LITTLE_ENDIAN);
  }

  private static void putBytes(IntVector bits, MemorySegment target, long at) {
    ((ByteVector) bits.convertShape(I2B, B, 0)).intoMemorySegment(target, at, LITTLE_ENDIAN);
  }

  private static FloatVector widenBf16(IntVector bits) {
    return bits.lanewise(LSHL, 16).reinterpretAsFloats();
  }

  private static FloatVector widenF16(IntVector half) {
    IntVector magnitude = half.and(0x7fff).lanewise(LSHL, 13);
    // Multiplying by 2^112 moves the exponent's bias from 15 to 127, subnormals included.
    IntVector finite = magnitude.reinterpretAsFloats().mul(0x1p112f).reinterpretAsInts();
    VectorMask<Integer> special = half.and(0x7c00).compare(EQ, 0x7c00);
    return finite.blend(magnitude.or(0x7f80_0000), special).or(half.and(0x8000).lanewise(LSHL, 16)).reinterpretAsFloats();
  }

  private static FloatVector widenE4m3(IntVector code) {
    IntVector magnitude = code.and(0x7f);
    IntVector finite = magnitude.lanewise(LSHL, 20).reinterpretAsFloats().mul(0x1p120f).reinterpretAsInts();
    VectorMask<Integer> nan = magnitude.compare(EQ, 0x7f);
    return finite.blend(IntVector.broadcast(I, 0x7fc0_0000), nan).or(code.and(0x80).lanewise(LSHL, 24)).reinterpretAsFloats();
  }

  private static IntVector narrowBf16(FloatVector value) {
    IntVector bits = value.reinterpretAsInts();
    IntVector upper = bits.lanewise(LSHR, 16);
    IntVector rounded = bits.add(0x7fff).add(upper.and(1)).lanewise(LSHR, 16);
    return rounded.blend(upper.or(0x40), value.compare(NE, value).cast(I));
  }

  /** Rounds to a type with an infinity, as {@link Floats#floatToSmall} does. */
  private static IntVector narrowSmall(FloatVector value, int exponentBits, int mantissaBits) {
    IntVector bits = value.reinterpretAsInts();
    int infinity = ((1 << exponentBits) - 1) << mantissaBits;
    IntVector code = magnitudeCode(bits, exponentBits, mantissaBits, infinity);
    IntVector payload = bits.and(0x7f_ffff).lanewise(LSHR, 23 - mantissaBits).or(infinity | (1 << (mantissaBits - 1)));
    IntVector sign = bits.lanewise(LSHR, 31).lanewise(LSHL, exponentBits + mantissaBits);
    return code.blend(payload, value.compare(NE, value).cast(I)).or(sign);
  }

  private static IntVector narrowE4m3(FloatVector value) {
    IntVector bits = value.reinterpretAsInts();
    IntVector code = magnitudeCode(bits, 4, 3, 0x7f);
    IntVector sign = bits.lanewise(LSHR, 31).lanewise(LSHL, 7);
    return code.blend(IntVector.broadcast(I, 0x7f), value.compare(NE, value).cast(I)).or(sign);
  }

  private static IntVector magnitudeCode(IntVector bits, int exponentBits, int mantissaBits, int largest) {
    int bias = (1 << (exponentBits - 1)) - 1;
    int shift = 23 - mantissaBits;
    IntVector magnitude = bits.and(0x7fff_ffff);
    IntVector shifted = magnitude.sub((127 - bias) << 23);
    IntVector normal = shifted.add((1 << (shift - 1)) - 1).add(shifted.lanewise(LSHR, shift).and(1)).lanewise(LSHR, shift);
    // Next to a number whose last place is the type's least subnormal, the addition itself rounds to nearest, ties to even.
    int magic = (127 - bias + shift + 1) << 23;
    IntVector subnormal = magnitude.reinterpretAsFloats().add(Float.intBitsToFloat(magic)).reinterpretAsInts().sub(magic);
    return normal.min(largest).blend(subnormal, magnitude.compare(LT, (127 - bias + 1) << 23));
  }

  @Override
  public void read(DType type, ByteBuffer source, int start, float[] values, int count) {
    int whole = type == DType.F64 ? 0 : whole(count);
    if (whole > 0) {
      readWhole(type, segment(source), start, values, whole);
    }
    if (whole < count) {
      scalar.read(type, source, start + whole, tail, count - whole);
      System.arraycopy(tail, 0, values, whole, count - whole);
    }
  }

  private static void readWhole(DType type, MemorySegment source, long start, float[] values, int count) {
    switch (type) {
      case F32 -> MemorySegment.copy(source, FLOATS.withOrder(LITTLE_ENDIAN), 4 * start, values, 0, count);
      case BF16 -> {
        for (int i = 0; i < count; i += LANES) {
          widenBf16(shorts(source, 2 * (start + i))).intoArray(values, i);
        }
      }
      case F16 -> {
        for (int i = 0; i < count; i += LANES) {
          widenF16(shorts(source, 2 * (start + i))).intoArray(values, i);
        }
      }
      case F8_E5M2 -> {
        for (int i = 0; i < count; i += LANES) {
          widenF16(bytes(source, start + i).lanewise(LSHL, 8)).intoArray(values, i);
        }
      }
      case F8_E4M3 -> {
        for (int i = 0; i < count; i += LANES) {
          widenE4m3(bytes(source, start + i)).intoArray(values, i);
        }
      }
      default -> throw new IllegalArgumentException("no float32 arithmetic on " + type);
    }
  }

  @Override
  public void readDifference(DType type, ByteBuffer source, DType minusType, ByteBuffer minus, int start, float[] values, int count) {
    int whole = type == DType.F64 || minusType == DType.F64 ? 0 : whole(count);
    if (whole > 0) {
      if (type == minusType && (type == DType.BF16 || type == DType.F16 || type == DType.F32)) {
        subtractWhole(type, segment(source), segment(minus), start, values, whole);
      } else {
        readWhole(type, segment(source), start, values, whole);
        readWhole(minusType, segment(minus), start, other, whole);
        for (int i = 0; i < whole; i += LANES) {
          FloatVector.fromArray(F, values, i).sub(FloatVector.fromArray(F, other, i)).intoArray(values, i);
        }
      }
    }
    if (whole < count) {
      scalar.readDifference(type, source, minusType, minus, start + whole, tail, count - whole);
      System.arraycopy(tail, 0, values, whole, count - whole);
    }
  }

  private static void subtractWhole(DType type, MemorySegment source, MemorySegment minus, long start, float[] values, int count) {
    switch (type) {
      case BF16 -> {
        for (int i = 0; i < count; i += LANES) {
          long at = 2 * (start + i);
          widenBf16(shorts(source, at)).sub(widenBf16(shorts(minus, at))).intoArray(values, i);
        }
      }
      case F16 -> {
        for (int i = 0; i < count; i += LANES) {
          long at = 2 * (start + i);
          widenF16(shorts(source, at)).sub(widenF16(shorts(minus, at))).intoArray(values, i);
        }
      }
      default -> {
        for (int i = 0; i < count; i += LANES) {
          long at = 4 * (start + i);
          FloatVector.fromMemorySegment(F, source, at, LITTLE_ENDIAN)
              .sub(FloatVector.fromMemorySegment(F, minus, at, LITTLE_ENDIAN))
              .intoArray(values, i);
        }
      }
    }
  }

  @Override
  public void scale(float[] values, float factor, int count) {
    int whole = whole(count);
    for (int i = 0; i < whole; i += LANES) {
      FloatVector.fromArray(F, values, i).mul(factor).intoArray(values, i);
    }
    for (int i = whole; i < count; i++) {
      values[i] *= factor;
    }
  }

  @Override
  public void add(float[] sum, int at, float[] values, int count) {
    int whole = whole(count);
    for (int i = 0; i < whole; i += LANES) {
      FloatVector.fromArray(F, sum, at + i).add(FloatVector.fromArray(F, values, i)).intoArray(sum, at + i);
    }
    for (int i = whole; i < count; i++) {
      sum[at + i] += values[i];
    }
  }

  @Override
  public void addProducts(float[] values, int at, int count, float[] left, int leftAt, int rank, float[] right, int columns, int column) {
    int i = 0;
    for (; i + 4 * LANES <= count; i += 4 * LANES) {
      FloatVector sum0 = FloatVector.fromArray(F, values, at + i);
      FloatVector sum1 = FloatVector.fromArray(F, values, at + i + LANES);
      FloatVector sum2 = FloatVector.fromArray(F, values, at + i + 2 * LANES);
      FloatVector sum3 = FloatVector.fromArray(F, values, at + i + 3 * LANES);
      int from = column + i;
      for (int k = 0; k < rank; k++) {
        FloatVector factor = FloatVector.broadcast(F, left[leftAt + k]);
        sum0 = sum0.add(factor.mul(FloatVector.fromArray(F, right, from)));
        sum1 = sum1.add(factor.mul(FloatVector.fromArray(F, right, from + LANES)));
        sum2 = sum2.add(factor.mul(FloatVector.fromArray(F, right, from + 2 * LANES)));
        sum3 = sum3.add(factor.mul(FloatVector.fromArray(F, right, from + 3 * LANES)));
        from += columns;
      }
      sum0.intoArray(values, at + i);
      sum1.intoArray(values, at + i + LANES);
      sum2.intoArray(values, at + i + 2 * LANES);
      sum3.intoArray(values, at + i + 3 * LANES);
    }
    if (i < count) {
      scalar.addProducts(values, at + i, count - i, left, leftAt, rank, right, columns, column + i);
    }
  }

  @Override
  public Rounding round(DType type, ByteBuffer chunk, int start, float[] change, int count) {
    int whole = whole(count);
    Rounding rounding = Rounding.NONE;
    if (whole > 0) {
      Counts counts = new Counts();
      roundWhole(type, segment(chunk), start, change, whole, counts);
      rounding = new Rounding(counts.touched, counts.vanished, counts.overflowed, counts.nonFinite);
    }
    if (whole < count) {
      System.arraycopy(change, whole, tail, 0, count - whole);
      rounding = rounding.plus(scalar.round(type, chunk, start + whole, tail, count - whole));
    }
    return rounding;
  }

  private static void roundWhole(DType type, MemorySegment chunk, long start, float[] change, int count, Counts counts) {
    int special = Floats.specialMask(type);
    switch (type) {
      case F32 -> {
        for (int i = 0; i < count; i += LANES) {
          IntVector old = IntVector.fromMemorySegment(I, chunk, 4 * (start + i), LITTLE_ENDIAN);
          FloatVector added = FloatVector.fromArray(F, change, i);
          FloatVector sum = old.reinterpretAsFloats().add(added);
          counts.settle(old, sum.reinterpretAsInts(), added, sum, special).intoMemorySegment(chunk, 4 * (start + i), LITTLE_ENDIAN);
        }
      }
      case BF16 -> {
        for (int i = 0; i < count; i += LANES) {
          IntVector old = shorts(chunk, 2 * (start + i));
          FloatVector added = FloatVector.fromArray(F, change, i);
          FloatVector sum = widenBf16(old).add(added);
          putShorts(counts.settle(old, narrowBf16(sum), added, sum, special), chunk, 2 * (start + i));
        }
      }
      case F16 -> {
        for (int i = 0; i < count; i += LANES) {
          IntVector old = shorts(chunk, 2 * (start + i));
          FloatVector added = FloatVector.fromArray(F, change, i);
          FloatVector sum = widenF16(old).add(added);
          putShorts(counts.settle(old, narrowSmall(sum, 5, 10), added, sum, special), chunk, 2 * (start + i));
        }
      }
      case F8_E5M2 -> {
        for (int i = 0; i < count; i += LANES) {
          IntVector old = bytes(chunk, start + i);
          FloatVector added = FloatVector.fromArray(F, change, i);
          FloatVector sum = widenF16(old.lanewise(LSHL, 8)).add(added);
          putBytes(counts.settle(old, narrowSmall(sum, 5, 2), added, sum, special), chunk, start + i);
        }
      }
      case F8_E4M3 -> {
        for (int i = 0; i < count; i += LANES) {
          IntVector old = bytes(chunk, start + i);
          FloatVector added = FloatVector.fromArray(F, change, i);
          FloatVector sum = widenE4m3(old).add(added);
          putBytes(counts.settle(old, narrowE4m3(sum), added, sum, special), chunk, start + i);
        }
      }
      default -> throw new IllegalArgumentException("no float32 arithmetic on " + type);
    }
  }

  /** What rounding did. */
  private static final class Counts {
    private long touched;
    private long vanished;
    private long overflowed;
    private long nonFinite;

    /** The bits that the elements end up with. */
    IntVector settle(IntVector old, IntVector rounded, FloatVector change, FloatVector sum, int special) {
      VectorMask<Integer> kept = change.compare(EQ, 0f).cast(I).or(old.and(special).compare(EQ, special));
      VectorMask<Integer> same = rounded.compare(EQ, old).andNot(kept);
      touched += LANES - kept.trueCount();
      vanished += same.trueCount();
      VectorMask<Integer> bad = rounded.and(special).compare(EQ, special).andNot(kept.or(same));
      if (bad.anyTrue()) {
        int infinite = sum.reinterpretAsInts().and(0x7f80_0000).compare(EQ, 0x7f80_0000).and(bad).trueCount();
        nonFinite += infinite;
        overflowed += bad.trueCount() - infinite;
      }
      return rounded.blend(old, kept);
    }
  }
}
