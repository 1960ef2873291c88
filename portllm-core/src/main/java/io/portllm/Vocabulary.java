package io.portllm;

import com.google.common.collect.ImmutableSortedMap;
import io.portllm.internal.text.Names;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.TreeMap;
import java.util.stream.IntStream;

/**
 * Which token each row of a model's embedding and head stands for.
 *
 * <p>Tokens are the strings that the tokenizer stores ({@code Ġthe}, {@code ▁the}), compared code point by code point. Rows may have no
 * token: padding, or a hole between ids. Where several rows have one token, the first of them is its row, and the others count as rows
 * without a token.
 *
 * <p>Immutable; keeps the tokens as UTF-8, some 16 bytes more than their length for each.
 */
public final class Vocabulary {
  private static final Vocabulary EMPTY = builder().build();

  /** Rows that have a token, ascending. */
  private final int[] rows;

  /** The tokens of {@link #rows} as UTF-8, one after the other. */
  private final byte[] utf8;

  /** Where the token of each of {@link #rows} ends. */
  private final int[] ends;

  /** An open-addressed table of indices into {@link #rows} plus 1. */
  private final int[] slots;

  private final ImmutableSortedMap<Integer, AddedToken> added;

  private Vocabulary(int[] rows, byte[] utf8, int[] ends, int[] slots, Map<Integer, AddedToken> added) {
    this.rows = rows;
    this.utf8 = utf8;
    this.ends = ends;
    this.slots = slots;
    this.added = ImmutableSortedMap.copyOf(added);
  }

  /** The vocabulary of a model whose tokens are not known. */
  public static Vocabulary empty() {
    return EMPTY;
  }

  /** A vocabulary without tokens to add to. */
  public static Builder builder() {
    return new Builder();
  }

  /** Whether no token is known. */
  public boolean isEmpty() {
    return rows.length == 0;
  }

  /** How many tokens there are. */
  public int size() {
    return rows.length;
  }

  /** One more than the last row that has a token; 0 if none has. */
  public int end() {
    return rows.length == 0 ? 0 : rows[rows.length - 1] + 1;
  }

  /** The rows that have a token, ascending. */
  public IntStream rows() {
    return Arrays.stream(rows);
  }

  /** The token that {@code row} stands for, if it has one. */
  public Optional<String> token(int row) {
    int index = Arrays.binarySearch(rows, row);
    return index < 0 ? Optional.empty() : Optional.of(at(index));
  }

  /** The row that stands for {@code token}, if there is one. */
  public OptionalInt row(String token) {
    byte[] bytes = token.getBytes(StandardCharsets.UTF_8);
    for (int slot = hash(bytes, 0, bytes.length) & (slots.length - 1); slots[slot] != 0; slot = (slot + 1) & (slots.length - 1)) {
      int index = slots[slot] - 1;
      if (Arrays.equals(utf8, start(index), ends[index], bytes, 0, bytes.length)) {
        return OptionalInt.of(rows[index]);
      }
    }
    return OptionalInt.empty();
  }

  /** What the tokenizer says of the tokens that were added to it, by row. */
  public Map<Integer, AddedToken> added() {
    return added;
  }

  /** The tokens of the rows before {@code end}. */
  public Vocabulary before(long end) {
    if (end() <= end) {
      return this;
    }
    Builder builder = builder();
    for (int i = 0; i < rows.length && rows[i] < end; i++) {
      builder.add(this, i);
    }
    return builder.build();
  }

  private String at(int index) {
    return new String(utf8, start(index), ends[index] - start(index), StandardCharsets.UTF_8);
  }

  private int start(int index) {
    return index == 0 ? 0 : ends[index - 1];
  }

  private static int hash(byte[] bytes, int from, int to) {
    int hash = 1;
    for (int i = from; i < to; i++) {
      hash = 31 * hash + bytes[i];
    }
    return hash ^ hash >>> 16;
  }

  /** Whether {@code other} has the same tokens in the same rows. */
  @Override
  public boolean equals(Object other) {
    return other instanceof Vocabulary that
        && Arrays.equals(rows, that.rows) && Arrays.equals(ends, that.ends) && Arrays.equals(utf8, that.utf8);
  }

  @Override
  public int hashCode() {
    return 31 * Arrays.hashCode(rows) + Arrays.hashCode(utf8);
  }

  @Override
  public String toString() {
    return "Vocabulary[" + size() + " tokens]";
  }

  /** Gathers tokens. Not safe for use by several threads. */
  public static final class Builder {
    private int count;
    private int[] rows = new int[64];
    private int[] ends = new int[64];
    private byte[] utf8 = new byte[512];
    private int length;
    private final Map<Integer, AddedToken> added = new TreeMap<>();

    private Builder() {}

    /**
     * Says that {@code row} stands for {@code token}. Of a row that is given twice the later token counts.
     *
     * @throws IllegalArgumentException if the row is negative or the largest int, or the token is no text (half a surrogate pair)
     */
    public Builder add(int row, String token) {
      if (row < 0 || row == Integer.MAX_VALUE) {
        throw new IllegalArgumentException("row must lie within 0 to " + (Integer.MAX_VALUE - 1) + " but was " + row);
      }
      ByteBuffer bytes = encode(Objects.requireNonNull(token, "token"));
      if (count == rows.length) {
        rows = Arrays.copyOf(rows, 2 * count);
        ends = Arrays.copyOf(ends, 2 * count);
      }
      int size = bytes.remaining();
      int end = Math.addExact(length, size);
      if (end > utf8.length) {
        utf8 = Arrays.copyOf(utf8, (int) Math.min(Integer.MAX_VALUE - 8L, Math.max(end, 2L * utf8.length)));
      }
      bytes.get(utf8, length, size);
      length = end;
      rows[count] = row;
      ends[count++] = end;
      added.remove(row);
      return this;
    }

    /** Says that {@code row} stands for a token that was added to the tokenizer. */
    public Builder add(int row, AddedToken token) {
      add(row, token.content());
      added.put(row, token);
      return this;
    }

    /** Says that the rows of {@code vocabulary} stand for its tokens. */
    public Builder addAll(Vocabulary vocabulary) {
      for (int i = 0; i < vocabulary.rows.length; i++) {
        add(vocabulary, i);
      }
      return this;
    }

    private void add(Vocabulary vocabulary, int index) {
      int row = vocabulary.rows[index];
      AddedToken token = vocabulary.added.get(row);
      if (token == null) {
        add(row, vocabulary.at(index));
      } else {
        add(row, token);
      }
    }

    /** The vocabulary of the tokens so far. */
    public Vocabulary build() {
      long[] order = new long[count];
      for (int i = 0; i < count; i++) {
        order[i] = (long) rows[i] << 32 | i;
      }
      Arrays.sort(order);
      return new Packing(order).vocabulary();
    }

    private static ByteBuffer encode(String token) {
      try {
        return StandardCharsets.UTF_8.newEncoder().encode(CharBuffer.wrap(token));
      } catch (CharacterCodingException e) {
        throw new IllegalArgumentException("token must be text but " + Names.quote(token) + " has half a surrogate pair", e);
      }
    }

    /** Puts the tokens in the order of their rows, each row and each token once. */
    private final class Packing {
      private final int[] sortedRows;
      private final int[] sortedEnds;
      private final byte[] packed = new byte[length];
      private final int[] slots;
      private int kept;

      Packing(long[] order) {
        sortedRows = new int[order.length];
        sortedEnds = new int[order.length];
        slots = new int[Integer.highestOneBit(Math.max(1, order.length)) * 4];
        for (int i = 0; i < order.length; i++) {
          boolean last = i + 1 == order.length || order[i + 1] >>> 32 != order[i] >>> 32;
          if (last) {
            place((int) (order[i] >>> 32), (int) order[i]);
          }
        }
      }

      private void place(int row, int given) {
        int from = given == 0 ? 0 : ends[given - 1];
        int to = ends[given];
        int slot = hash(utf8, from, to) & (slots.length - 1);
        for (; slots[slot] != 0; slot = (slot + 1) & (slots.length - 1)) {
          int other = slots[slot] - 1;
          if (Arrays.equals(packed, start(other), sortedEnds[other], utf8, from, to)) {
            return;
          }
        }
        System.arraycopy(utf8, from, packed, start(kept), to - from);
        sortedRows[kept] = row;
        sortedEnds[kept] = start(kept) + to - from;
        slots[slot] = ++kept;
      }

      private int start(int index) {
        return index == 0 ? 0 : sortedEnds[index - 1];
      }

      Vocabulary vocabulary() {
        int[] keptRows = Arrays.copyOf(sortedRows, kept);
        Map<Integer, AddedToken> keptAdded = new TreeMap<>(added);
        keptAdded.keySet().removeIf(row -> Arrays.binarySearch(keptRows, row) < 0);
        return new Vocabulary(keptRows, Arrays.copyOf(packed, start(kept)), Arrays.copyOf(sortedEnds, kept), slots, keptAdded);
      }
    }
  }
}
