package io.portllm;

import java.util.Locale;

/**
 * The mismatches that a caller can allow. Each is refused unless named.
 */
public enum Allow {
  /**
   * Extracting: tensors of the base that the fine-tuned model lacks count as unchanged. Applying: changes to tensors that the
   * new base lacks are left out.
   */
  MISSING_TENSORS,

  /**
   * Extracting: tensors that only the fine-tuned model has become additions. Applying: additions are written to the output, in place
   * of the new base's where it has them, and other tensors of the new base that the patch's base lacked are copied.
   */
  EXTRA_TENSORS,

  /** Extracting: tensors of other dimensions count as unchanged. Applying: changes to tensors of other dimensions are left out. */
  OTHER_SHAPES,

  /**
   * Embedding and head tensors of another vocabulary. Where the tokens of both models are known, rows are matched by token whether this is
   * given or not, and it concerns tokens that have no match. Extracting: tokens of the base that the fine-tuned model lacks count as
   * unchanged, and tokens that it added are left out unless {@link #ADDED_TOKENS} is given. Applying: changes to tokens that the new base
   * lacks are left out, those that fine-tuning added too unless {@link #ADDED_TOKENS} is given. Where the tokens are not known, the rows
   * that both have, by index, are changed. All other rows keep what the new base has.
   */
  OTHER_VOCABULARY,

  /**
   * Tokens that fine-tuning added. Extracting: their rows become part of the patch. Applying: those that the new base lacks are appended to
   * its embedding, head and tokenizer; of those that it has, the fine-tuned model's rows take the place of the new base's.
   */
  ADDED_TOKENS,

  /**
   * Embedding and head rows are matched by index even where the tokens that they stand for are known and differ, as after reserved
   * tokens were renamed.
   */
  ROWS_BY_INDEX,

  /** Extracting: the fine-tuned tensor may have another floating type than the base's. */
  OTHER_DTYPES,

  /** Tied embeddings on one side only, or a change to one of two tied tensors: the change goes to each tensor it names. */
  TIED_EMBEDDINGS,

  /** Applying: weights that leave the output type's range become infinite (F8_E4M3: NaN) and are counted. */
  OVERFLOW;

  /** The name as the command spells it, such as {@code other-vocabulary}. */
  public String optionName() {
    return name().toLowerCase(Locale.ROOT).replace('_', '-');
  }
}
