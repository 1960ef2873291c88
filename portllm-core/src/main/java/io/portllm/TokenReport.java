package io.portllm;

import com.google.common.collect.ImmutableList;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;

/**
 * How two vocabularies differ.
 *
 * @param common how many tokens both have
 * @param moved those of them that have another row
 * @param removed tokens that only the first has
 * @param added tokens that only the second has
 */
public record TokenReport(int common, Tokens moved, Tokens removed, Tokens added) {
  /**
   * Some tokens.
   *
   * @param count how many there are
   * @param first the first of them, {@value #NAMED} at most, in the order of their rows
   */
  public record Tokens(int count, List<String> first) {
    /** How many tokens are named. */
    public static final int NAMED = 10;

    public Tokens {
      first = ImmutableList.copyOf(first);
    }
  }

  /** How {@code second} differs from {@code first}. */
  public static TokenReport between(Vocabulary first, Vocabulary second) {
    Counter moved = new Counter();
    Counter removed = new Counter();
    Counter added = new Counter();
    first.rows().forEach(row -> {
      String token = first.token(row).orElseThrow();
      OptionalInt other = second.row(token);
      if (other.isEmpty()) {
        removed.count(token);
      } else if (other.getAsInt() != row) {
        moved.count(token);
      }
    });
    second.rows().mapToObj(row -> second.token(row).orElseThrow()).filter(token -> first.row(token).isEmpty()).forEach(added::count);
    return new TokenReport(first.size() - removed.count, moved.tokens(), removed.tokens(), added.tokens());
  }

  /** Whether both have the same tokens in the same rows. */
  public boolean isSame() {
    return moved.count() + removed.count() + added.count() == 0;
  }

  private static final class Counter {
    private final List<String> first = new ArrayList<>();
    private int count;

    void count(String token) {
      if (count++ < Tokens.NAMED) {
        first.add(token);
      }
    }

    Tokens tokens() {
      return new Tokens(count, first);
    }
  }
}
