package io.portllm.internal.patch;

import io.portllm.AddedToken;
import io.portllm.Allow;
import io.portllm.Delta;
import io.portllm.IncompatibleModelException;
import io.portllm.MergeOptions;
import io.portllm.Mismatch;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.TensorInfo;
import io.portllm.TokenRows;
import io.portllm.Vocabulary;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** Matches the embedding and head rows of a patch with those of a new base, by token where both sides' are known. */
final class TokenFitting {
  private final Patch patch;
  private final MergeOptions options;
  private final TokenRows rows;
  private final List<String> added;
  private final String tensor;
  private final List<Mismatch> mismatches = new ArrayList<>();
  private ModelVersion newBase;
  private Vocabulary from = Vocabulary.empty();
  private Vocabulary to = Vocabulary.empty();
  private boolean byToken;
  private boolean appends;
  private boolean leavesOutRows;

  private TokenFitting(Patch patch, ModelVersion newBase, MergeOptions options) {
    this.patch = patch;
    this.newBase = newBase;
    this.options = options;
    this.rows = patch.tokens();
    this.added = rows.added();
    this.tensor = patch.deltas().keySet().stream().filter(Embeddings::isVocabulary).findFirst().orElse("");
  }

  /** Compares the vocabularies; that of the new base is read only if the patch needs it. */
  static TokenFitting of(Patch patch, ModelVersion newBase, MergeOptions options) {
    TokenFitting fitting = new TokenFitting(patch, newBase, options);
    if (patch.tokens().areKnown() && PatchTokens.changesRows(patch)) {
      fitting.compare();
    }
    return fitting;
  }

  private void compare() {
    Vocabulary target = options.allows(Allow.ROWS_BY_INDEX) ? Vocabulary.empty() : PatchTokens.of(newBase);
    if (target.isEmpty()) {
      leavesOutRows = !added.isEmpty();
      if (leavesOutRows && !options.allows(Allow.OTHER_VOCABULARY)) {
        mismatches.add(
            Mismatch.of(
                tensor,
                "has rows in the patch for " + PatchTokens.list(added)
                    + ", that fine-tuning added, but those of the new base are matched by index",
                Allow.OTHER_VOCABULARY));
      }
      return;
    }
    byToken = true;
    from = rows.tokens();
    to = target;
    refuseRemoved();
    if (added.isEmpty()) {
      return;
    }
    if (options.allows(Allow.ADDED_TOKENS)) {
      append();
      return;
    }
    from = from.before(rows.firstAdded());
    if (!options.allows(Allow.OTHER_VOCABULARY)) {
      mismatches.add(
          Mismatch.of(
              tensor,
              "has rows in the patch for " + PatchTokens.list(added) + ", that fine-tuning added; " + Allow.OTHER_VOCABULARY.optionName()
                  + " leaves them out",
              Allow.ADDED_TOKENS));
    }
  }

  private void refuseRemoved() {
    if (options.allows(Allow.OTHER_VOCABULARY)) {
      return;
    }
    BitSet changed = changedRows();
    List<String> removed =
        from.rows()
            .filter(row -> row < rows.firstAdded() && changed.get(row))
            .mapToObj(row -> from.token(row).orElseThrow())
            .filter(token -> to.row(token).isEmpty())
            .toList();
    if (!removed.isEmpty()) {
      mismatches.add(
          Mismatch.of(
              tensor, "has changes in the patch for " + PatchTokens.list(removed) + ", that the new base lacks", Allow.OTHER_VOCABULARY));
    }
  }

  /** The rows that an embedding or head change of the patch may change. */
  private BitSet changedRows() {
    BitSet changed = new BitSet();
    for (Map.Entry<String, Delta> entry : patch.deltas().entrySet()) {
      Delta delta = entry.getValue();
      if (!Embeddings.isVocabulary(entry.getKey()) || delta instanceof Delta.Unchanged) {
        continue;
      }
      List<Delta> parts = delta.isAdditive() ? Terms.of(delta).stream().map(Delta.Term::delta).toList() : List.of(delta);
      for (Delta part : parts) {
        if (part instanceof Delta.Rows some) {
          some.indices().forEach(row -> changed.set((int) Math.min(row, Integer.MAX_VALUE - 1)));
        } else if (part instanceof Delta.RowReplacement some) {
          some.indices().forEach(row -> changed.set((int) Math.min(row, Integer.MAX_VALUE - 1)));
        } else {
          changed.set(0, (int) Math.min(part.shape().rows(), from.end()));
        }
      }
    }
    return changed;
  }

  private void append() {
    List<AddedToken> tokens = new ArrayList<>();
    List<String> trained = new ArrayList<>();
    for (String content : added) {
      AddedToken token = PatchTokens.added(from, content);
      if (token != null) {
        tokens.add(token);
      } else if (to.row(content).isPresent()) {
        tokens.add(new AddedToken(content, false, false, false, false, false));
      } else {
        trained.add(content);
      }
    }
    if (!trained.isEmpty()) {
      mismatches.add(
          Mismatch.of(
              tensor,
              "has rows in the patch for " + PatchTokens.list(trained)
                  + ", of the vocabulary that the tokenizer was trained with, which cannot be added to another tokenizer",
              Allow.OTHER_VOCABULARY));
      return;
    }
    try {
      newBase = newBase.withTokens(tokens);
      to = PatchTokens.of(newBase);
      appends = true;
    } catch (IncompatibleModelException e) {
      mismatches.addAll(e.mismatches());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** The new base, with rows for the tokens that are appended. */
  ModelVersion newBase() {
    return newBase;
  }

  /** Whether rows are matched by token, so that another number of rows alone is no mismatch. */
  boolean isByToken() {
    return byToken;
  }

  /** What does not fit. */
  List<Mismatch> mismatches() {
    return mismatches;
  }

  /** Which rows of {@code delta} the rows of {@code target} get; empty if they are matched by index. */
  Optional<RowMap> map(TensorInfo target) {
    if (!Embeddings.isVocabulary(target.name()) || !byToken && !leavesOutRows || target.shape().rank() == 0) {
      return Optional.empty();
    }
    RowMap map = RowMap.between(from, rows.firstAdded(), to, target.shape().rows());
    return map.isIdentity() ? Optional.empty() : Optional.of(map);
  }

  /** Why {@code delta} cannot be put on {@code target} row by row, if it cannot. */
  Optional<Mismatch> refusal(TensorInfo target, Delta delta) {
    if (!target.dtype().isArithmetic() || delta.isAdditive() && !RowEvaluator.isEvaluable(delta)) {
      return Optional.of(
          Mismatch.of(
              target.name(), "changes by what depends on all its rows, which stand for other tokens in the new base", Allow.ROWS_BY_INDEX));
    }
    return Optional.empty();
  }

  /** What the appended rows lack: a change for each of them in every embedding and head. */
  List<Mismatch> incomplete(Map<String, Delta> changes) {
    List<Mismatch> found = new ArrayList<>();
    for (TensorInfo target : appends ? newBase.tensors() : List.<TensorInfo>of()) {
      Delta delta = changes.get(target.name());
      if (Embeddings.isVocabulary(target.name()) && (delta == null || delta.shape().rows() < rows.tokens().end())) {
        found.add(Mismatch.of(target.name(), "has no rows in the patch for " + PatchTokens.list(added), Allow.OTHER_VOCABULARY));
      }
    }
    return found;
  }
}
