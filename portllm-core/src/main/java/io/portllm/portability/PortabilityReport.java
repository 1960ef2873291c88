package io.portllm.portability;

import com.google.common.collect.ImmutableList;
import io.portllm.internal.portability.ReportText;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalDouble;

/**
 * Whether a patch will work on a new base, as far as that can be told without data, and why.
 *
 * @param patch how the patch was made: its recipe
 * @param oldBase what the model is called that the patch was made on, if known
 * @param newBase what the new base is called
 * @param evidence what was known of the old base
 * @param verdict what to do
 * @param confidence how far to trust the verdict
 * @param score from 0 (nothing left of what the patch was made for) to 1 (the same base): 1 less {@link Lineage#brokenShare}, times
 *     1 − √(spread · √(input drift · output drift)) over the tensors that the patch changes. Absent if nothing is known of the old weights
 * @param reasons the figures that decided, in sentences
 * @param advice what to do next, in one sentence
 * @param lineage whether the new base descends from the old one
 * @param findings what is notable about structure and files, gravest first
 * @param patched the tensors that the patch changes, taken together
 * @param total all tensors, taken together
 * @param tensors every tensor of the new base that patches can change, in its order
 * @param storage what storing does, if the new base is stored in another form than it is compared in and the patch fits
 */
public record PortabilityReport(
    String patch,
    Optional<String> oldBase,
    String newBase,
    Evidence evidence,
    Verdict verdict,
    Confidence confidence,
    OptionalDouble score,
    List<String> reasons,
    String advice,
    Lineage lineage,
    List<Finding> findings,
    TensorReport patched,
    TensorReport total,
    List<TensorReport> tensors,
    Optional<Storage> storage) {
  /** What was known of the old base. */
  public enum Evidence {
    /** Its weights. */
    WEIGHTS,
    /** The sketches in the patch file. */
    SKETCHES,
    /** Nothing but names, shapes or digests. */
    NONE
  }

  public PortabilityReport {
    Objects.requireNonNull(verdict, "verdict");
    Objects.requireNonNull(confidence, "confidence");
    reasons = ImmutableList.copyOf(reasons);
    findings = ImmutableList.copyOf(findings);
    tensors = ImmutableList.copyOf(tensors);
  }

  /** The report as plain text of a page or so: verdict, reasons, figures, findings and the tensors that moved most. */
  @Override
  public String toString() {
    return ReportText.of(this);
  }
}
