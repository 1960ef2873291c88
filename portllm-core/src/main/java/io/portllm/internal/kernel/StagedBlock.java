package io.portllm.internal.kernel;

import io.portllm.DType;
import io.portllm.Merger;
import io.portllm.Rounding;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.util.List;

/** The weights of a run, BF16 or F32, of which one block at a time is merged in {@link Planes}. */
final class StagedBlock {
  /** Blocks after which the counts of one element could need more than 15 bits. */
  private static final int MOST_UNCOUNTED = 0x7fff;

  private final DType type;
  private final int special;
  private final IntBuffer words;
  private final FloatBuffer floats;
  private final Planes planes;
  private final StagedOperands operands;
  private final int[] raw = new int[Planes.BLOCK];
  private final int[][] old;
  private final int[][] sums;
  private final int[][] codes;
  private final int[][] changes;
  private final int[] counts;
  private final float[] weights = new float[Planes.BLOCK];
  private final float[] change = new float[Planes.BLOCK];
  private final float[] term = new float[Planes.BLOCK];
  private int uncounted;
  private long elements;
  private long kept;
  private long moved;
  private long overflowed;
  private long nonFinite;

  /** The run {@code chunk}, of a type that this class is for. */
  StagedBlock(Merger.Chunk chunk) {
    type = chunk.dtype();
    special = Floats.specialMask(type);
    ByteBuffer bytes = chunk.bytes().duplicate().position(0).order(ByteOrder.LITTLE_ENDIAN);
    words = bytes.asIntBuffer();
    floats = bytes.asFloatBuffer();
    planes = new Planes(32 / type.bits());
    operands = new StagedOperands(planes);
    int n = Planes.BLOCK / planes.count();
    old = new int[planes.count()][n];
    sums = new int[planes.count()][n];
    codes = new int[planes.count()][n];
    changes = new int[planes.count()][n];
    counts = new int[n];
  }

  /** Whether this class can merge elements {@code from} to {@code to}: they are whole words. */
  boolean fits(int from, int to) {
    return from % planes.count() == 0 && to % planes.count() == 0;
  }

  /** Merges elements {@code from} to {@code to}, all of which each operand covers. */
  void merge(int from, int to, List<Merger.Operand> covering) {
    int length = to - from;
    boolean first = true;
    for (Merger.Operand operand : covering) {
      operands.read(operand, from - operand.start(), first ? change : term, length);
      if (!first) {
        Loops.add(change, term, length);
      }
      first = false;
    }
    readWeights(from, length);
    planes.toBits(change, changes, length);
    Loops.add(change, weights, length);
    planes.toBits(change, sums, length);
    round(length / planes.count());
    write(from, length);
    elements += length;
    if (++uncounted == MOST_UNCOUNTED) {
      count();
    }
  }

  private void readWeights(int from, int length) {
    int n = length / planes.count();
    words.get(from / planes.count(), type == DType.F32 ? old[0] : raw, 0, n);
    if (type == DType.F32) {
      floats.get(from, weights, 0, n);
      return;
    }
    // The sums' arrays are free until the changes are added.
    Loops.and(raw, 0xffff, old[0], n);
    Loops.shiftRight(raw, 16, old[1], n);
    Loops.shiftLeft(raw, 16, sums[0], n);
    Loops.and(raw, 0xffff_0000, sums[1], n);
    planes.toFloats(sums, weights, length);
  }

  private void round(int n) {
    for (int plane = 0; plane < planes.count(); plane++) {
      int[] rounded = type == DType.F32 ? sums[plane] : codes[plane];
      if (type == DType.BF16) {
        Loops.narrowBf16(sums[plane], rounded, n);
      }
      Loops.kept(changes[plane], old[plane], special, n);
      if (Loops.anySpecial(rounded, special, n)) {
        countSpecial(rounded, plane, n);
      }
      Loops.settle(rounded, old[plane], changes[plane], counts, n);
    }
  }

  private void countSpecial(int[] rounded, int plane, int n) {
    for (int i = 0; i < n; i++) {
      if ((rounded[i] & special) == special && changes[plane][i] == 0 && rounded[i] != old[plane][i]) {
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
      words.put(from, sums[0], 0, n);
    } else {
      Loops.pack(codes[0], codes[1], raw, n);
      words.put(from / 2, raw, 0, n);
    }
  }

  private void count() {
    for (int i = 0; i < counts.length; i++) {
      moved += counts[i] & 0xffff;
      kept += counts[i] >>> 16;
      counts[i] = 0;
    }
    uncounted = 0;
  }

  /** What rounding did in all blocks. */
  Rounding rounding() {
    count();
    long touched = elements - kept;
    return new Rounding(touched, touched - moved, overflowed, nonFinite);
  }
}
