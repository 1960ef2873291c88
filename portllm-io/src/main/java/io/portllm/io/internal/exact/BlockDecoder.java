package io.portllm.io.internal.exact;

import java.nio.ByteBuffer;
import java.util.Arrays;

/**
 * Reads what {@link BlockEncoder} writes. Whatever the bytes are, nothing else than {@link BrokenBlockException} is thrown, and no more
 * memory is used than for the largest block. Not safe for use by many threads.
 */
public final class BlockDecoder {
  private final ByteReader in = new ByteReader(BlockEncoder.mostBytes(BlockEncoder.WORDS, Long.BYTES));
  private final long[] differences = new long[BlockEncoder.WORDS];
  private final long[] gaps = new long[BlockEncoder.WORDS];
  private final long[] scratch = new long[BlockEncoder.WORDS];
  private final NumberDecoder numbers = new NumberDecoder(BlockEncoder.WORDS);
  private final SymbolDecoder planes = new SymbolDecoder();
  private final byte[] plane = new byte[BlockEncoder.WORDS];

  /** Room for the bytes of a block, from index 0 on. */
  public byte[] bytes() {
    return in.bytes;
  }

  /**
   * Decodes the block in {@link #bytes}.
   *
   * @param length its bytes, at least 1 and at most {@link BlockEncoder#mostBytes}
   * @param count its words, at least 1 and at most {@link BlockEncoder#WORDS}
   */
  public void decode(int length, Words words, int count) throws BrokenBlockException {
    in.reset(length);
    int form = in.get("a form of block");
    switch (form) {
      case BlockEncoder.SPARSE -> readSparse(words, count);
      case BlockEncoder.DENSE -> numbers.read(in, differences, count, 8 * words.bytes());
      case BlockEncoder.PLANES -> readPlanes(words, count);
      case BlockEncoder.RAW -> readRaw(words, count);
      default -> throw new BrokenBlockException("unknown form of block " + form);
    }
    if (in.remaining() != 0) {
      throw new BrokenBlockException(in.remaining() + " bytes are left over");
    }
  }

  /**
   * Adds differences of the decoded block to words, in place.
   *
   * @param run words, little-endian, from index 0
   * @param from the first word of the block that is wanted
   * @param negated whether the differences are subtracted instead
   */
  public void addTo(ByteBuffer run, Words words, int from, int count, boolean negated) {
    words.add(run, differences, from, count, negated, scratch);
  }

  private void readSparse(Words words, int count) throws BrokenBlockException {
    int differing = in.getVarint(count, "the number of changed words");
    if (differing == 0) {
      throw new BrokenBlockException("the number of changed words must not be 0");
    }
    numbers.read(in, gaps, differing, 17);
    numbers.read(in, scratch, differing, 8 * words.bytes());
    Arrays.fill(differences, 0, count, 0);
    long most = -1L >>> 64 - 8 * words.bytes();
    long at = -1;
    for (int i = 0; i < differing; i++) {
      at += gaps[i] + 1;
      if (at >= count) {
        throw new BrokenBlockException("changed word number " + i + " is at " + at + " of " + count);
      }
      if (scratch[i] == most) {
        throw new BrokenBlockException("changed word number " + i + " differs by more than a word");
      }
      differences[(int) at] = scratch[i] + 1;
    }
  }

  private void readPlanes(Words words, int count) throws BrokenBlockException {
    Arrays.fill(differences, 0, count, 0);
    for (int number = words.bytes() - 1; number >= 0; number--) {
      planes.read(in, plane, count);
      for (int i = 0; i < count; i++) {
        differences[i] = differences[i] << 8 | plane[i] & 0xff;
      }
    }
  }

  private void readRaw(Words words, int count) throws BrokenBlockException {
    int from = in.position();
    in.skip(count * words.bytes(), "differences");
    int at = from;
    for (int i = 0; i < count; i++) {
      long value = 0;
      for (int number = 0; number < words.bytes(); number++) {
        value |= (in.bytes[at++] & 0xffL) << 8 * number;
      }
      differences[i] = value;
    }
  }
}
