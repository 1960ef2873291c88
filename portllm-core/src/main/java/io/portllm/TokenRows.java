package io.portllm;

import java.util.List;
import java.util.Objects;

/**
 * Which token each row of a patch's embedding and head changes stands for.
 *
 * <p>The rows are those of the model that the patch was made on, followed by one for each token that fine-tuning added. The change of an
 * added row is the fine-tuned model's whole row, its difference from a row of zeros.
 *
 * @param tokens the tokens; empty where they are not known, and rows then are matched by index
 * @param firstAdded the row of the first token that fine-tuning added; no token that it added has a lower row, and no other a higher one
 */
public record TokenRows(Vocabulary tokens, int firstAdded) {
  private static final TokenRows UNKNOWN = new TokenRows(Vocabulary.empty(), 0);

  public TokenRows {
    Objects.requireNonNull(tokens, "tokens");
    if (firstAdded < 0) {
      throw new IllegalArgumentException("the first added row must be 0 or more but was " + firstAdded);
    }
  }

  /** Rows of which it is not known what they stand for. */
  public static TokenRows unknown() {
    return UNKNOWN;
  }

  /** Whether the tokens are known. */
  public boolean areKnown() {
    return !tokens.isEmpty();
  }

  /** The tokens that fine-tuning added, in the order of their rows. */
  public List<String> added() {
    return tokens.rows().filter(row -> row >= firstAdded).mapToObj(row -> tokens.token(row).orElseThrow()).toList();
  }
}
