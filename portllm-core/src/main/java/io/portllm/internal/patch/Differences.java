package io.portllm.internal.patch;

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
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.Tying;
import io.portllm.Vocabulary;
import io.portllm.internal.text.Names;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/** The patch between two models of all weights. */
public final class Differences {
  private final ModelVersion tuned;
  private final ModelVersion base;
  private final MergeOptions options;
  private final Embeddings tunedEmbeddings;
  private final Embeddings baseEmbeddings;
  private final TokenMatch tokens;
  private final Map<String, Delta> deltas = new TreeMap<>();
  private final List<Mismatch> mismatches = new ArrayList<>();

  private Differences(ModelVersion tuned, ModelVersion base, MergeOptions options) {
    this.tuned = tuned;
    this.base = base;
    this.options = options;
    this.tunedEmbeddings = Embeddings.of(tuned);
    this.baseEmbeddings = Embeddings.of(base);
    Vocabulary vocabulary = options.allows(Allow.ROWS_BY_INDEX) ? Vocabulary.empty() : PatchTokens.of(tuned);
    this.tokens = TokenMatch.of(vocabulary, base, options, mismatches::add);
  }

  /** {@code tuned − base}. Reads headers and vocabularies only. */
  public static Patch between(ModelVersion tuned, ModelVersion base, MergeOptions options) {
    Differences differences = new Differences(tuned, base, options);
    differences.compareTying();
    for (TensorInfo theirs : base.tensors()) {
      differences.compare(theirs);
    }
    for (TensorInfo mine : tuned.tensors()) {
      if (base.find(mine.name()).isEmpty()) {
        differences.extra(mine);
      }
    }
    if (!differences.mismatches.isEmpty()) {
      throw new IncompatibleModelException(
          Names.quote(tuned.name()) + " is no fine-tune of " + Names.quote(base.name()), differences.mismatches);
    }
    return Patch.of(differences.deltas, Optional.of(differences.base()), Names.last(tuned.name()) + " - " + Names.last(base.name()))
        .withTokens(differences.tokens.rows());
  }

  /** The base, counted as tied only where the fine-tuned model is tied too: else the patch has two changes, not one. */
  private PatchBase base() {
    PatchBase known = PatchBase.of(base);
    return tunedEmbeddings.tying() == known.tying()
        ? known
        : new PatchBase(known.name(), known.fingerprint(), Tying.UNTIED, known.tensors(), known.digests(), known.model(), known.sketch());
  }

  /** Every tensor of either, bit for bit. Reads headers only. */
  public static Patch exact(ModelVersion tuned, ModelVersion base, String recipe) {
    Map<String, Delta> deltas = new TreeMap<>();
    for (TensorInfo theirs : base.tensors()) {
      deltas.put(theirs.name(), new Delta.Exact(new TwoTensors(base.tensor(theirs.name()), tuned.tensor(theirs.name()))));
    }
    for (TensorInfo mine : tuned.tensors()) {
      deltas.computeIfAbsent(mine.name(), name -> new Delta.Exact(new TwoTensors(Optional.empty(), tuned.tensor(name))));
    }
    return Patch.of(deltas, Optional.of(PatchBase.of(base)), recipe);
  }

  private void compareTying() {
    if (tunedEmbeddings.tying() == baseEmbeddings.tying() || baseEmbeddings.embedding().isEmpty()) {
      return;
    }
    refuseUnless(
        Allow.TIED_EMBEDDINGS,
        baseEmbeddings.head().orElseThrow(),
        baseEmbeddings.tying() == Tying.TIED
            ? "is the embedding itself in the base and a matrix of its own in the fine-tuned model"
            : "is a matrix of its own in the base and the embedding itself in the fine-tuned model");
  }

  private void compare(TensorInfo theirs) {
    Optional<TensorInfo> found = tuned.find(theirs.name());
    if (found.isEmpty() && baseEmbeddings.tying() == Tying.TIED && isHead(baseEmbeddings, theirs)) {
      // A tied head that one side stores and the other does not: the embedding holds the same values.
      found = tunedEmbeddings.embedding().flatMap(tuned::find);
    }
    if (found.isEmpty()) {
      refuseUnless(Allow.MISSING_TENSORS, theirs.name(), "is in the base but not in the fine-tuned model");
      return;
    }
    TensorInfo mine = found.get();
    if (!sameShape(mine, theirs)) {
      return;
    }
    if (!mine.dtype().equals(theirs.dtype()) && !sameMeaning(mine, theirs)) {
      return;
    }
    Tensor tunedTensor = new Tensor(tuned, mine);
    Tensor baseTensor = new Tensor(base, theirs);
    if (!theirs.dtype().isArithmetic()) {
      deltas.put(theirs.name(), new Delta.Unchanged(tunedTensor, baseTensor));
      return;
    }
    Optional<String> scales = Quantised.scalesOf(base, theirs).or(() -> Quantised.scalesOf(tuned, mine));
    if (scales.isPresent()) {
      mismatches.add(Mismatch.of(theirs.name(), theirs.dtype() + " weights scaled by " + Names.quote(scales.get()) + " cannot be subtracted"));
      return;
    }
    boolean rowsAreTokens = Embeddings.isVocabulary(theirs.name());
    deltas.put(theirs.name(), rowsAreTokens ? tokens.difference(tunedTensor, baseTensor) : new Delta.Difference(tunedTensor, baseTensor));
  }

  private boolean sameShape(TensorInfo mine, TensorInfo theirs) {
    Shape found = mine.shape();
    Shape expected = theirs.shape();
    if (found.equals(expected)) {
      return true;
    }
    if (Embeddings.differInRowsOnly(theirs.name(), expected, found)) {
      return tokens.isByToken() || refuseUnless(
          Allow.OTHER_VOCABULARY, theirs.name(), "has " + expected.rows() + " rows in the base and " + found.rows() + " in the fine-tuned model");
    }
    refuseUnless(Allow.OTHER_SHAPES, theirs.name(), "is " + expected + " in the base and " + found + " in the fine-tuned model");
    return false;
  }

  private boolean sameMeaning(TensorInfo mine, TensorInfo theirs) {
    String message = "is " + theirs.dtype() + " in the base and " + mine.dtype() + " in the fine-tuned model";
    if (mine.dtype().isArithmetic() && theirs.dtype().isArithmetic() && !isByte(mine.dtype()) && !isByte(theirs.dtype())) {
      return refuseUnless(Allow.OTHER_DTYPES, theirs.name(), message);
    }
    mismatches.add(Mismatch.of(theirs.name(), message));
    return false;
  }

  private static boolean isByte(DType type) {
    return type.bits() == 8;
  }

  private void extra(TensorInfo mine) {
    if (isHead(tunedEmbeddings, mine) && tunedEmbeddings.tying() == Tying.TIED && baseEmbeddings.tying() == Tying.TIED) {
      return;
    }
    if (refuseUnless(Allow.EXTRA_TENSORS, mine.name(), "is in the fine-tuned model but not in the base")) {
      deltas.put(mine.name(), new Delta.Replacement(new Tensor(tuned, mine)));
    }
  }

  private static boolean isHead(Embeddings embeddings, TensorInfo tensor) {
    return embeddings.head().isPresent() && embeddings.head().get().equals(tensor.name());
  }

  /** Whether {@code allow} is given; records the mismatch if not. */
  private boolean refuseUnless(Allow allow, String tensor, String message) {
    if (options.allows(allow)) {
      return true;
    }
    mismatches.add(Mismatch.of(tensor, message, allow));
    return false;
  }
}
