package io.portllm.io.internal.exact;

import java.nio.ByteBuffer;

/**
 * Writes the difference of two runs of words as a block, in the form that is the smallest. The same words give the same bytes on every
 * JVM. Not safe for use by many threads.
 *
 * <pre>
 * block     =                                      no bytes: nothing differs
 *           | 1 count gap* (difference − 1)*       sparse: how many words differ, as a varint; how many equal words precede each; by
 *                                                  how much each differs, less 1
 *           | 2 difference*                        dense: of every word
 *           | 3 plane*                             planes: the bytes of the differences, the highest of all words first
 *           | 4 byte*                              raw: the differences as they are, little-endian
 * </pre>
 *
 * Differences are those of {@link Words}. Gaps and differences are written by {@link NumberEncoder}, planes by {@link SymbolEncoder}.
 */
public final class BlockEncoder {
  /** Words of a block; the last block of a tensor may have fewer. */
  public static final int WORDS = 1 << 16;

  static final int SPARSE = 1;
  static final int DENSE = 2;
  static final int PLANES = 3;
  static final int RAW = 4;

  private final long[] differences = new long[WORDS];
  private final long[] scratch = new long[WORDS];
  private final long[] gaps = new long[WORDS / 2];
  private final long[] changed = new long[WORDS / 2];
  private final NumberEncoder dense = new NumberEncoder(WORDS);
  private final NumberEncoder sparseGaps = new NumberEncoder(WORDS / 2);
  private final NumberEncoder sparseDifferences = new NumberEncoder(WORDS / 2);
  private final SymbolEncoder[] planes = new SymbolEncoder[Long.BYTES];
  private final byte[][] planeSymbols = new byte[Long.BYTES][];
  private final ByteWriter out = new ByteWriter(2 * mostBytes(WORDS, Long.BYTES));

  /** The most bytes that a block of {@code count} words can have. */
  public static int mostBytes(int count, int wordBytes) {
    return 1 + count * wordBytes;
  }

  /**
   * Encodes {@code count} words, at most {@link #WORDS}.
   *
   * @param before the words that are changed, little-endian, from index 0
   * @param after the words that they become, little-endian, from index 0
   * @return the length of the block, whose bytes are in {@link #bytes} until the next call
   */
  public int encode(Words words, ByteBuffer before, ByteBuffer after, int count) {
    out.clear();
    if (before.slice(0, count * words.bytes()).mismatch(after.slice(0, count * words.bytes())) < 0) {
      return 0;
    }
    words.subtract(before, after, count, differences, scratch);
    int width = words.bytes();
    long rawBits = 8L * count * width;
    int differing = differing(count);
    long sparseBits = differing <= count / 2 ? prepareSparse(count) : Long.MAX_VALUE;
    // Where hardly anything differs, the dense form need not be looked at: it has a symbol for each word.
    long denseBits = differing > count / 16 ? dense.prepare(differences, count) : Long.MAX_VALUE;
    long leastBits = Math.min(sparseBits, denseBits);
    long planesBits = leastBits > rawBits / 2 ? preparePlanes(count, width) : Long.MAX_VALUE;
    if (planesBits < leastBits) {
      out.put(PLANES);
      for (int plane = width - 1; plane >= 0; plane--) {
        planes[plane].write(out);
      }
    } else if (sparseBits <= denseBits) {
      out.put(SPARSE);
      out.putVarint(differing);
      sparseGaps.write(out);
      sparseDifferences.write(out);
    } else {
      out.put(DENSE);
      dense.write(out);
    }
    if (out.position() >= mostBytes(count, width)) {
      writeRaw(count, width);
    }
    return out.position();
  }

  /** The bytes of the block last encoded, from index 0 on. */
  public byte[] bytes() {
    return out.bytes;
  }

  private int differing(int count) {
    int differing = 0;
    for (int i = 0; i < count; i++) {
      differing += differences[i] == 0 ? 0 : 1;
    }
    return differing;
  }

  private long prepareSparse(int count) {
    int k = 0;
    int next = 0;
    for (int i = 0; i < count; i++) {
      if (differences[i] != 0) {
        gaps[k] = i - next;
        changed[k++] = differences[i] - 1;
        next = i + 1;
      }
    }
    return sparseGaps.prepare(gaps, k) + sparseDifferences.prepare(changed, k);
  }

  private long preparePlanes(int count, int width) {
    long bits = 0;
    for (int plane = 0; plane < width; plane++) {
      if (planes[plane] == null) {
        planes[plane] = new SymbolEncoder(WORDS);
        planeSymbols[plane] = new byte[WORDS];
      }
      byte[] symbols = planeSymbols[plane];
      for (int i = 0; i < count; i++) {
        symbols[i] = (byte) (differences[i] >>> 8 * plane);
      }
      bits += planes[plane].prepare(symbols, count);
    }
    return bits;
  }

  private void writeRaw(int count, int width) {
    out.clear();
    out.put(RAW);
    for (int i = 0; i < count; i++) {
      for (int plane = 0; plane < width; plane++) {
        out.put((int) (differences[i] >>> 8 * plane));
      }
    }
  }
}
