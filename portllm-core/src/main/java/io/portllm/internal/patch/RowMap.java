package io.portllm.internal.patch;

import io.portllm.Vocabulary;
import java.util.OptionalInt;

/**
 * Which row of a change belongs to each row of a tensor: that of the same token, or, for a row without a token, that of the same number if
 * it has none either.
 */
final class RowMap {
  /** Stands for no row. */
  static final int NONE = -1;

  private final int[] sources;
  private final boolean identity;

  private RowMap(int[] sources) {
    this.sources = sources;
    boolean same = true;
    for (int row = 0; row < sources.length; row++) {
      same &= sources[row] == row;
    }
    this.identity = same;
  }

  /**
   * Matches rows.
   *
   * @param from what the rows of the change stand for
   * @param unnamed how many of the change's rows, from the first, may be matched by number where they have no token
   * @param to what the tensor's rows stand for
   * @param rows how many rows the tensor has
   */
  static RowMap between(Vocabulary from, long unnamed, Vocabulary to, long rows) {
    int[] sources = new int[Math.toIntExact(rows)];
    for (int row = 0; row < sources.length; row++) {
      sources[row] = row < unnamed && from.token(row).isEmpty() ? row : NONE;
    }
    to.rows().takeWhile(row -> row < sources.length).forEach(row -> {
      OptionalInt source = from.row(to.token(row).orElseThrow());
      sources[row] = source.orElse(NONE);
    });
    return new RowMap(sources);
  }

  /** Whether every row belongs to the row of the same number. */
  boolean isIdentity() {
    return identity;
  }

  /** The row of the change that row number {@code row} of the tensor gets, or {@link #NONE}. */
  int source(long row) {
    return sources[(int) row];
  }

  /** The row after the last of those from {@code row} on whose changes follow on each other, or that all have none. */
  long runEnd(long row) {
    int end = (int) row + 1;
    while (end < sources.length
        && (sources[end] == NONE ? sources[end - 1] == NONE : sources[end - 1] != NONE && sources[end] == sources[end - 1] + 1)) {
      end++;
    }
    return end;
  }

  /** The sources of all rows, from the first. */
  int[] sources() {
    return sources.clone();
  }
}
