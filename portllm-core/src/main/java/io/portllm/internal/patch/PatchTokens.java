package io.portllm.internal.patch;

import io.portllm.AddedToken;
import io.portllm.Delta;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.TensorInfo;
import io.portllm.TokenRows;
import io.portllm.Vocabulary;
import io.portllm.internal.text.Names;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.LongStream;

/** Which tokens the rows of models and patches stand for. */
public final class PatchTokens {
  /** Tokens that a message names. */
  private static final int NAMED = 5;

  private PatchTokens() {}

  /** The tokens that have a row in every embedding and head of {@code model}; empty where none is known. */
  public static Vocabulary of(ModelVersion model) {
    long rows = rowsOf(model.tensors()).min().orElse(0);
    if (rows == 0) {
      return Vocabulary.empty();
    }
    try {
      return model.vocabulary().before(rows);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** The most rows of an embedding or head among {@code tensors}. */
  static long rows(List<TensorInfo> tensors) {
    return rowsOf(tensors).max().orElse(0);
  }

  private static LongStream rowsOf(List<TensorInfo> tensors) {
    return tensors.stream().filter(tensor -> Embeddings.isVocabulary(tensor.name())).mapToLong(tensor -> tensor.shape().rows());
  }

  /** Whether {@code patch} changes the rows of an embedding or head. */
  public static boolean changesRows(Patch patch) {
    return patch.deltas().entrySet().stream()
        .anyMatch(entry -> Embeddings.isVocabulary(entry.getKey()) && !(entry.getValue() instanceof Delta.Unchanged));
  }

  /**
   * What the rows of changes made of all {@code patches} together stand for.
   *
   * @throws IllegalArgumentException if the rows of one stand for other tokens than those of another
   */
  public static TokenRows common(List<Patch> patches) {
    TokenRows common = TokenRows.unknown();
    for (Patch patch : patches) {
      if (!patch.tokens().areKnown() || !changesRows(patch)) {
        continue;
      }
      if (common.areKnown() && !patch.tokens().equals(common)) {
        throw new IllegalArgumentException(
            "the embedding and head rows of the patch " + Names.quote(patch.recipe())
                + " stand for other tokens than those of the patches before it");
      }
      common = patch.tokens();
    }
    return common;
  }

  /** A few tokens for a message, such as {@code 12 tokens, 'a', 'b' and others}. */
  static String list(List<String> tokens) {
    String named = tokens.stream().limit(NAMED).map(Names::quote).collect(Collectors.joining(", "));
    return tokens.size() + (tokens.size() == 1 ? " token, " : " tokens, ") + named + (tokens.size() > NAMED ? " and others" : "");
  }

  /** What a tokenizer says of {@code token}, in this row; null if it was not added but trained with. */
  static AddedToken added(Vocabulary vocabulary, String token) {
    return vocabulary.row(token).isPresent() ? vocabulary.added().get(vocabulary.row(token).getAsInt()) : null;
  }
}
