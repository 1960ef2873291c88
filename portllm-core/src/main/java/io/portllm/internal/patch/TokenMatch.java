package io.portllm.internal.patch;

import io.portllm.AddedToken;
import io.portllm.Allow;
import io.portllm.Delta;
import io.portllm.MergeOptions;
import io.portllm.Mismatch;
import io.portllm.ModelVersion;
import io.portllm.Tensor;
import io.portllm.TokenRows;
import io.portllm.Vocabulary;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;

/** The embedding and head rows of a fine-tuned model matched with those of its base, by token. */
public final class TokenMatch {
  private final Vocabulary tuned;
  private final Vocabulary base;
  private final boolean byToken;
  private final List<String> added;
  private final int firstAdded;
  private final TokenRows rows;

  private TokenMatch(Vocabulary tuned, Vocabulary base, boolean byToken, List<String> added, int firstAdded, TokenRows rows) {
    this.tuned = tuned;
    this.base = base;
    this.byToken = byToken;
    this.added = added;
    this.firstAdded = firstAdded;
    this.rows = rows;
  }

  /**
   * Compares two vocabularies.
   *
   * @param tuned the fine-tuned model's; empty where it is not known
   * @param base the base
   * @param mismatches is told of tokens without a match that {@code options} do not allow
   */
  public static TokenMatch of(Vocabulary tuned, ModelVersion base, MergeOptions options, Consumer<Mismatch> mismatches) {
    if (options.allows(Allow.ROWS_BY_INDEX)) {
      return new TokenMatch(Vocabulary.empty(), Vocabulary.empty(), false, List.of(), 0, TokenRows.unknown());
    }
    Vocabulary known = PatchTokens.of(base);
    int firstAdded = Math.toIntExact(Math.max(known.end(), Math.min(Integer.MAX_VALUE / 2, PatchTokens.rows(base.tensors()))));
    if (known.isEmpty() || tuned.isEmpty() || known.equals(tuned)) {
      boolean same = !known.isEmpty() && known.equals(tuned);
      TokenRows rows = known.isEmpty() ? TokenRows.unknown() : new TokenRows(known, firstAdded);
      return new TokenMatch(tuned, known, same, List.of(), firstAdded, rows);
    }
    String tensor = base.tensors().stream().filter(info -> Embeddings.isVocabulary(info.name())).findFirst().orElseThrow().name();
    List<String> removed = missing(known, tuned);
    if (!removed.isEmpty() && !options.allows(Allow.OTHER_VOCABULARY)) {
      mismatches.accept(
          Mismatch.of(
              tensor, "has rows in the base for " + PatchTokens.list(removed) + ", that the fine-tuned model lacks", Allow.OTHER_VOCABULARY));
    }
    List<String> added = missing(tuned, known);
    if (!options.allows(Allow.ADDED_TOKENS)) {
      if (!added.isEmpty() && !options.allows(Allow.OTHER_VOCABULARY)) {
        mismatches.accept(
            Mismatch.of(
                tensor,
                "has rows in the fine-tuned model for " + PatchTokens.list(added) + ", that the base lacks; "
                    + Allow.OTHER_VOCABULARY.optionName() + " leaves them out",
                Allow.ADDED_TOKENS));
      }
      added = List.of();
    }
    return new TokenMatch(tuned, known, true, added, firstAdded, new TokenRows(extended(known, tuned, added, firstAdded), firstAdded));
  }

  /** The tokens of {@code some} that {@code others} lacks. */
  private static List<String> missing(Vocabulary some, Vocabulary others) {
    return some.rows().mapToObj(row -> some.token(row).orElseThrow()).filter(token -> others.row(token).isEmpty()).toList();
  }

  private static Vocabulary extended(Vocabulary base, Vocabulary tuned, List<String> added, int firstAdded) {
    Vocabulary.Builder builder = Vocabulary.builder().addAll(base);
    for (int i = 0; i < added.size(); i++) {
      AddedToken token = PatchTokens.added(tuned, added.get(i));
      if (token == null) {
        builder.add(firstAdded + i, added.get(i));
      } else {
        builder.add(firstAdded + i, token);
      }
    }
    return builder.build();
  }

  /** Whether rows are matched by token, so that another number of rows alone is no mismatch. */
  public boolean isByToken() {
    return byToken;
  }

  /** What the rows of {@link #difference} stand for. */
  public TokenRows rows() {
    return rows;
  }

  /**
   * The change of an embedding or head: rows of tokens that the fine-tuned model lacks stay, rows of tokens that it added follow.
   *
   * @param mine the fine-tuned model's, of an arithmetic type
   * @param old the base's, of an arithmetic type and the same number of columns
   */
  public Delta.Difference difference(Tensor mine, Tensor old) {
    int oldRows = Math.toIntExact(old.info().shape().rows());
    if (!byToken || tuned.equals(base)) {
      return new Delta.Difference(mine, old);
    }
    RowMap map = RowMap.between(tuned, mine.info().shape().rows(), base, oldRows);
    if (added.isEmpty() && map.isIdentity()) {
      return new Delta.Difference(mine, old);
    }
    int[] mineOf = Arrays.copyOf(map.sources(), added.isEmpty() ? oldRows : firstAdded + added.size());
    int[] oldOf = new int[mineOf.length];
    Arrays.fill(mineOf, oldRows, mineOf.length, RowView.ZEROS);
    for (int row = 0; row < oldOf.length; row++) {
      oldOf[row] = mineOf[row] == RowMap.NONE ? RowView.ZEROS : row;
    }
    for (int i = 0; i < added.size(); i++) {
      mineOf[firstAdded + i] = tuned.row(added.get(i)).orElseThrow();
    }
    // A row without a match changes by -0 - 0, which keeps the bits of whatever it is added to.
    return new Delta.Difference(RowView.of(mine, mineOf, true), RowView.of(old, oldOf, false));
  }
}
