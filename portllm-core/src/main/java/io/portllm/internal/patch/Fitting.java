package io.portllm.internal.patch;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import com.google.common.collect.Iterables;
import io.portllm.Allow;
import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.IncompatibleModelException;
import io.portllm.MergeOptions;
import io.portllm.Mismatch;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.PatchBase;
import io.portllm.Shape;
import io.portllm.Shard;
import io.portllm.TensorInfo;
import io.portllm.Tying;
import io.portllm.internal.text.Names;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Checks that a patch fits a new base, and says which change each tensor of the output gets.
 */
final class Fitting {
  /**
   * The outcome.
   *
   * @param newBase what the changes are put on
   * @param changes the change of each tensor that is changed
   * @param rows which rows of its change each row of a tensor gets, where that is not the row of the same number
   * @param shards the files of the output
   */
  record Plan(ModelVersion newBase, Map<String, Delta> changes, Map<String, RowMap> rows, List<Shard> shards) {}

  private final Patch patch;
  private final ModelVersion newBase;
  private final MergeOptions options;
  private final Embeddings embeddings;
  private final TokenFitting tokens;
  private final Map<String, RowMap> rows = new LinkedHashMap<>();
  private final Map<String, Delta> changes = new LinkedHashMap<>();
  private final List<TensorInfo> additions = new ArrayList<>();
  private final List<Mismatch> mismatches = new ArrayList<>();

  private Fitting(Patch patch, ModelVersion newBase, MergeOptions options) {
    this.patch = patch;
    this.tokens = TokenFitting.of(patch, newBase, options);
    this.newBase = tokens.newBase();
    this.options = options;
    mismatches.addAll(tokens.mismatches());
    this.embeddings = Embeddings.of(newBase);
  }

  static Plan plan(Patch patch, ModelVersion newBase, MergeOptions options) {
    if (patch.isExact()) {
      return ExactFitting.plan(patch, newBase);
    }
    Fitting fitting = new Fitting(patch, newBase, options);
    patch.base().ifPresent(fitting::compareBases);
    Map<String, Delta> deltas = fitting.fitTying();
    deltas.forEach(fitting::fit);
    if (fitting.mismatches.isEmpty()) {
      fitting.mismatches.addAll(fitting.tokens.incomplete(fitting.changes));
    }
    if (!fitting.mismatches.isEmpty()) {
      throw new IncompatibleModelException(
          "the patch " + Names.quote(patch.recipe()) + " does not fit " + Names.quote(newBase.name()), fitting.mismatches);
    }
    return new Plan(fitting.newBase, ImmutableMap.copyOf(fitting.changes), ImmutableMap.copyOf(fitting.rows), fitting.shards());
  }

  private List<Shard> shards() {
    if (additions.isEmpty()) {
      return newBase.shards();
    }
    Shard last = Iterables.getLast(newBase.shards());
    return ImmutableList.<Shard>builder()
        .addAll(newBase.shards().subList(0, newBase.shards().size() - 1))
        .add(new Shard(last.fileName(), last.metadata(), ImmutableList.copyOf(Iterables.concat(last.tensors(), additions))))
        .build();
  }

  /** Compares what the patch does not touch; what it touches is compared where it is fitted. */
  private void compareBases(PatchBase base) {
    Map<String, TensorInfo> old = new LinkedHashMap<>();
    base.tensors().forEach(tensor -> old.put(tensor.name(), tensor));
    boolean bothTied = base.tying() == Tying.TIED && embeddings.tying() == Tying.TIED;
    for (TensorInfo theirs : newBase.tensors()) {
      TensorInfo mine = old.remove(theirs.name());
      if (mine == null) {
        if (!(bothTied && isHead(theirs.name())) && !patch.deltas().containsKey(theirs.name())) {
          refuseUnless(Allow.EXTRA_TENSORS, theirs.name(), "is in the new base but not in the model that the patch was made on");
        }
      } else if (!mine.shape().equals(theirs.shape()) && !isChanged(theirs.name()) && !differByTokens(mine, theirs)) {
        otherShape(theirs.name(), mine.shape(), theirs.shape());
      }
    }
    for (TensorInfo mine : old.values()) {
      if (!(bothTied && isHead(mine.name())) && !isChanged(mine.name())) {
        refuseUnless(Allow.MISSING_TENSORS, mine.name(), "is in the model that the patch was made on but not in the new base");
      }
    }
  }

  private boolean differByTokens(TensorInfo mine, TensorInfo theirs) {
    return tokens.isByToken() && Embeddings.differInRowsOnly(mine.name(), mine.shape(), theirs.shape());
  }

  private boolean isChanged(String tensor) {
    Delta delta = patch.deltas().get(tensor);
    return delta != null && !(delta instanceof Delta.Unchanged);
  }

  /** The patch's changes with those of embedding and head made to fit the tying of the new base. */
  private Map<String, Delta> fitTying() {
    Map<String, Delta> deltas = new LinkedHashMap<>(patch.deltas());
    if (embeddings.embedding().isEmpty()) {
      return deltas;
    }
    String embedding = embeddings.embedding().get();
    String head = embeddings.head().orElseThrow();
    Delta embeddingDelta = isChanged(embedding) ? deltas.get(embedding) : null;
    Delta headDelta = isChanged(head) ? deltas.get(head) : null;
    if (embeddingDelta == null && headDelta == null) {
      return deltas;
    }
    Tying old = patch.base().map(PatchBase::tying).orElse(Tying.UNKNOWN);
    if (embeddings.tying() == Tying.TIED) {
      if (isOneMatrix(old, embeddingDelta, headDelta)) {
        // One matrix then and now: its change goes once to each place where the new base stores it.
        if (embeddings.headStored()) {
          deltas.put(head, embeddingDelta);
        } else {
          deltas.remove(head);
        }
      } else {
        refuseUnless(
            Allow.TIED_EMBEDDINGS,
            headDelta != null ? head : embedding,
            "is changed by the patch on its own, but the new base uses one matrix as embedding and head");
      }
    } else if (old == Tying.TIED && embeddings.headStored()) {
      refuseUnless(
          Allow.TIED_EMBEDDINGS,
          head,
          "was the embedding itself in the model that the patch was made on, but is a matrix of its own in the new base");
    }
    return deltas;
  }

  /** Whether the two changes are those of one matrix, stored once or twice, so that the embedding's is both. */
  private static boolean isOneMatrix(Tying old, Delta embedding, Delta head) {
    if (embedding == null) {
      return false;
    }
    return head == null
        ? old == Tying.TIED || old == Tying.UNKNOWN && Rows.only(embedding)
        // Adapters change embedding and head each in its own way even where they are one matrix.
        : old == Tying.TIED && isOfStoredWeights(embedding) && isOfStoredWeights(head);
  }

  private static boolean isOfStoredWeights(Delta delta) {
    return delta.isAdditive()
        && Terms.of(delta).stream().allMatch(term -> term.delta() instanceof Delta.Dense || term.delta() instanceof Delta.Difference);
  }

  private boolean isHead(String tensor) {
    return embeddings.head().isPresent() && embeddings.head().get().equals(tensor);
  }

  private void fit(String name, Delta delta) {
    Optional<TensorInfo> found = newBase.find(name);
    if (delta instanceof Delta.Unchanged demand) {
      found.ifPresent(target -> fit(target, demand));
      return;
    }
    if (found.isEmpty()) {
      if (delta instanceof Delta.Replacement addition && isAddition(name)) {
        if (refuseUnless(Allow.EXTRA_TENSORS, name, "is added by the patch")) {
          changes.put(name, delta);
          additions.add(new TensorInfo(name, addition.values().info().dtype(), delta.shape()));
        }
      } else {
        refuseUnless(Allow.MISSING_TENSORS, name, "is changed by the patch but not in the new base");
      }
      return;
    }
    TensorInfo target = found.get();
    if (delta instanceof Delta.Replacement && isAddition(name)
        && !refuseUnless(Allow.EXTRA_TENSORS, name, "is added by the patch, but the new base has one of its own")) {
      return;
    }
    Optional<String> scales = Quantised.scalesOf(newBase, target);
    if (scales.isPresent()) {
      mismatches.add(Mismatch.of(name, target.dtype() + " weights scaled by " + Names.quote(scales.get()) + " cannot be changed"));
    } else if (!takes(target, delta)) {
      mismatches.add(Mismatch.of(name, "is " + target.dtype() + " in the new base, which cannot be changed"));
    } else if (fits(name, delta, target.shape())) {
      changes.put(name, delta);
      tokens.map(target).ifPresent(map -> {
        tokens.refusal(target, delta).ifPresent(mismatches::add);
        rows.put(name, map);
      });
    }
  }

  /** The demand is checked as the new base's tensor is read, which works on the same range of all three if their types are one. */
  private void fit(TensorInfo target, Delta.Unchanged demand) {
    DType type = demand.base().info().dtype();
    if (target.dtype() == type) {
      changes.put(target.name(), demand);
    } else {
      mismatches.add(Mismatch.of(target.name(), "is " + type + " in the model that the patch was made on and " + target.dtype() + " in the new base"));
    }
  }

  private boolean isAddition(String name) {
    return patch.base().filter(base -> base.tensors().stream().noneMatch(tensor -> tensor.name().equals(name))).isPresent();
  }

  private static boolean takes(TensorInfo target, Delta delta) {
    return target.dtype().isArithmetic()
        ? !(delta instanceof Delta.Replacement other) || other.values().info().dtype().isArithmetic()
        : delta instanceof Delta.Replacement same && same.values().info().dtype() == target.dtype();
  }

  private boolean fits(String name, Delta delta, Shape target) {
    if (tokens.isByToken() && Embeddings.isVocabulary(name) && delta.shape().columns() == target.columns()) {
      return true;
    }
    if (Rows.only(delta)) {
      if (!Rows.fit(delta, target)) {
        refuseUnless(
            Allow.OTHER_SHAPES,
            name,
            "is " + target + " in the new base, but the patch changes rows up to number " + (delta.shape().rows() - 1) + " of "
                + delta.shape().columns() + " columns");
        return false;
      }
      return true;
    }
    if (!delta.isAdditive()) {
      return delta.shape().equals(target) || otherShape(name, delta.shape(), target);
    }
    for (Delta.Term term : Terms.of(delta)) {
      Delta part = term.delta();
      if (!(Rows.only(part) ? Rows.fit(part, target) : part.shape().equals(target))) {
        return otherShape(name, part.shape(), target);
      }
    }
    return true;
  }

  /** Records another shape unless it is allowed; true if the change can still be applied to the rows in common. */
  private boolean otherShape(String name, Shape patched, Shape target) {
    if (Embeddings.differInRowsOnly(name, patched, target)) {
      return refuseUnless(
          Allow.OTHER_VOCABULARY, name, "has " + patched.rows() + " rows in the patch and " + target.rows() + " in the new base");
    }
    refuseUnless(Allow.OTHER_SHAPES, name, "is " + patched + " in the patch and " + target + " in the new base");
    return false;
  }

  /** Whether {@code allow} is given; records the mismatch if not. */
  private boolean refuseUnless(Allow allow, String tensor, String message) {
    if (options.allows(allow)) {
      return true;
    }
    mismatches.add(Mismatch.of(tensor, message, allow));
    return false;
  }

  /** Changes that concern single rows, which need not know how many rows the tensor has. */
  private static final class Rows {
    static boolean only(Delta delta) {
      return delta instanceof Delta.RowReplacement || delta != null && Terms.areRows(delta);
    }

    static boolean fit(Delta delta, Shape target) {
      return delta.shape().columns() == target.columns() && delta.shape().rows() <= target.rows();
    }
  }
}
