package io.portllm.internal.kernel;

import io.portllm.DType;
import io.portllm.Merger;
import io.portllm.Rounding;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.util.List;

/**
 * Merges one block of BF16, F16 or F32 weights after the other, in {@link Planes}. BF16 is held as float32 of which the lower half is zero,
 * so that it is infinite or NaN as F32 is. F16 is held as its codes; blocks that hold anything infinite or NaN are not merged here. Used by
 * one thread, for one run of weights at a time.
 */
final class StagedBlock {
  /** Blocks after which an element's count could need more than 15 bits. */
  private static final int MOST_UNCOUNTED = 0x7fff;

  private final DType type;
  private final Planes planes;
  private final StagedOperands operands;
  private final int[] raw = new int[Planes.BLOCK];
  private final int[][] old;
  private final int[][] sums;
  private final int[][] rounded;
  private final int[][] changes;
  private final int[][] halves;
  private final int[] counts;
  private final float[] weights = new float[Planes.BLOCK];
  private final float[] change = new float[Planes.BLOCK];
  private final float[] term = new float[Planes.BLOCK];
  private IntBuffer words;
  private FloatBuffer floats;
  private int uncounted;
  private long elements;
  private long kept;
  private long moved;
  private long overflowed;
  private long nonFinite;

  /** Arrays for weights of {@code type}. */
  StagedBlock(DType type) {
    this.type = type;
    planes = new Planes(32 / type.bits());
    operands = new StagedOperands(planes);
    old = planes.words();
    sums = planes.words();
    // Nothing is rounded where a sum has the type of the weight.
    rounded = type == DType.F32 ? sums : planes.words();
    changes = planes.words();
    halves = type == DType.F16 ? planes.words() : null;
    counts = new int[Planes.BLOCK / planes.count()];
  }

  /** Takes up a run of the type that this is for. */
  void begin(Merger.Chunk chunk) {
    ByteBuffer bytes = chunk.bytes().duplicate().position(0).order(ByteOrder.LITTLE_ENDIAN);
    words = bytes.asIntBuffer();
    floats = bytes.asFloatBuffer();
    elements = 0;
    kept = 0;
    moved = 0;
    overflowed = 0;
    nonFinite = 0;
    operands.begin();
  }

  /** Whether elements {@code from} to {@code to} can be merged here: they are whole words. */
  boolean fits(int from, int to) {
    return from % planes.count() == 0 && to % planes.count() == 0;
  }

  /**
   * Merges elements {@code from} to {@code to}, at most {@link Planes#BLOCK}, all of which each operand covers.
   *
   * @return false if it cannot be done here, and nothing was
   */
  boolean merge(int from, int to, List<Merger.Operand> covering) {
    int length = to - from;
    operands.beginBlock();
    for (int i = 0; i < covering.size(); i++) {
      Merger.Operand operand = covering.get(i);
      operands.read(operand, from - operand.start(), i == 0 ? change : term, length);
      if (i > 0) {
        Loops.add(change, term, length);
      }
    }
    boolean finite = !readWeights(from, length) && !operands.anySpecial();
    planes.toBits(change, changes, length);
    Loops.add(change, weights, length);
    planes.toBits(change, sums, length);
    if (type == DType.F16) {
      if (!finite || anyPastF16(length / 2)) {
        return false;
      }
      Loops.addHalf(change, term, length);
      planes.toBits(term, halves, length);
    } else if (!finite) {
      return false;
    }
    round(length / planes.count());
    write(from, length);
    elements += length;
    if (++uncounted == MOST_UNCOUNTED) {
      count();
    }
    return true;
  }

  private boolean anyPastF16(int n) {
    return Loops.anyPastF16(sums[0], n) || Loops.anyPastF16(sums[1], n);
  }

  /** True if there are F16 that are infinite or NaN. */
  private boolean readWeights(int from, int length) {
    int n = length / planes.count();
    if (type == DType.F32) {
      words.get(from, old[0], 0, n);
      floats.get(from, weights, 0, n);
      return false;
    }
    words.get(from / 2, raw, 0, n);
    if (type == DType.F16) {
      boolean special = planes.widenF16(raw, old, weights, length);
      Loops.and(raw, 0xffff, old[0], n);
      Loops.shiftRight(raw, 16, old[1], n);
      return special;
    }
    Loops.shiftLeft(raw, 16, old[0], n);
    Loops.and(raw, 0xffff_0000, old[1], n);
    planes.toFloats(old, weights, length);
    return false;
  }

  private void round(int n) {
    for (int plane = 0; plane < planes.count(); plane++) {
      if (type == DType.BF16) {
        Loops.roundToBf16(sums[plane], rounded[plane], n);
      } else if (type == DType.F16) {
        Loops.roundToF16(sums[plane], halves[plane], rounded[plane], n);
      }
      Loops.keep(changes[plane], old[plane], n);
      if (Loops.anySpecial(rounded[plane], n)) {
        countSpecial(plane, n);
      }
      Loops.settle(rounded[plane], old[plane], changes[plane], counts, n);
    }
  }

  private void countSpecial(int plane, int n) {
    for (int i = 0; i < n; i++) {
      int bits = rounded[plane][i];
      if (!Float.isFinite(Float.intBitsToFloat(bits)) && changes[plane][i] == 0 && bits != old[plane][i]) {
        if (Float.isFinite(Float.intBitsToFloat(sums[plane][i]))) {
          overflowed++;
        } else {
          nonFinite++;
        }
      }
    }
  }

  private void write(int from, int length) {
    int n = length / planes.count();
    if (type == DType.F32) {
      words.put(from, rounded[0], 0, n);
      return;
    }
    if (type == DType.F16) {
      Loops.packLow(rounded[0], rounded[1], raw, n);
    } else {
      Loops.pack(rounded[0], rounded[1], raw, n);
    }
    words.put(from / 2, raw, 0, n);
  }

  private void count() {
    for (int i = 0; i < counts.length; i++) {
      moved += counts[i] & 0xffff;
      kept += counts[i] >>> 16;
      counts[i] = 0;
    }
    uncounted = 0;
  }

  /** What rounding did in all blocks of the run, which is done. */
  Rounding finish() {
    count();
    words = null;
    floats = null;
    long touched = elements - kept;
    return new Rounding(touched, touched - moved, overflowed, nonFinite);
  }
}
