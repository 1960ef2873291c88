package io.portllm.internal.portability;

import io.portllm.Allow;
import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.Fingerprint;
import io.portllm.IncompatibleModelException;
import io.portllm.MergeOptions;
import io.portllm.Mismatch;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.PatchBase;
import io.portllm.ProgressListener;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.internal.patch.PatchedModel;
import io.portllm.internal.patch.StoredModel;
import io.portllm.internal.run.Parallel;
import io.portllm.internal.run.Progress;
import io.portllm.internal.text.Names;
import io.portllm.portability.BaseSketch;
import io.portllm.portability.Finding;
import io.portllm.portability.Finding.Severity;
import io.portllm.portability.Lineage;
import io.portllm.portability.PortabilityReport;
import io.portllm.portability.PortabilityReport.Evidence;
import io.portllm.portability.Storage;
import io.portllm.portability.TensorReport;
import io.portllm.portability.TensorSketch;
import java.io.IOException;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.BooleanSupplier;
import java.util.stream.Collectors;

/** Measures a patch against a new base, tensor by tensor, and has it judged. */
public final class Checker {
  /** Below this drift by sketches a tensor may be the same to the bit, which its digest then tells. */
  private static final double ALMOST_SAME = 1e-5;

  /** Below this part of a change that storing keeps, or with an error larger than the change, most of what is stored is not the patch. */
  private static final double LEAST_KEPT = 0.5;

  private final Optional<ModelVersion> givenOldBase;
  private final MergeOptions options;
  private final int threads;
  private final ProgressListener progress;
  private final BooleanSupplier cancelled;

  /** A checker; see {@link io.portllm.portability.PortabilityCheck} for the parameters. */
  public Checker(
      Optional<ModelVersion> oldBase, MergeOptions options, int threads, ProgressListener progress, BooleanSupplier cancelled) {
    this.givenOldBase = oldBase.map(ModelVersion::decoded);
    this.options = options;
    this.threads = threads;
    this.progress = progress;
    this.cancelled = cancelled;
  }

  /**
   * What was measured of one tensor. Travels between processes of one version of the library.
   *
   * @param identical whether the tensor is the old base's to the bit
   * @param refusal why applying the patch to it would be refused; null if it would not
   */
  public record Measured(Sums sums, boolean identical, String refusal) implements Serializable {
    private static final long serialVersionUID = 1L;
  }

  /** What headers tell of a patch and a new base. */
  private record Subject(
      Patch patch,
      ModelVersion newBase,
      ModelVersion view,
      Optional<ModelVersion> oldBase,
      Optional<PatchedModel> patched,
      Optional<BaseSketch> sketch,
      Optional<PatchBase> record,
      List<Finding> findings) {}

  /** Judges {@code patch} on {@code newBase}. */
  public PortabilityReport check(Patch patch, ModelVersion newBase) throws IOException {
    Subject subject = subject(patch, newBase);
    return report(subject, measure(subject, measured(newBase)));
  }

  /** The tensors of {@code newBase} that are measured, in its order. */
  public static List<TensorInfo> measured(ModelVersion newBase) {
    return newBase.decoded().tensors().stream().filter(tensor -> tensor.dtype().isArithmetic()).toList();
  }

  /** Measures some of the {@link #measured} tensors, by name. */
  public Map<String, Measured> measure(Patch patch, ModelVersion newBase, Collection<String> names) throws IOException {
    return measure(subject(patch, newBase), measured(newBase).stream().filter(tensor -> names.contains(tensor.name())).toList());
  }

  /** Judges {@code patch} on {@code newBase} by what was {@link #measure measured} of all tensors, perhaps elsewhere. */
  public PortabilityReport report(Patch patch, ModelVersion newBase, Map<String, Measured> measured) throws IOException {
    return report(subject(patch, newBase), measured);
  }

  private Subject subject(Patch patch, ModelVersion newBase) {
    ModelVersion view = newBase.decoded();
    Optional<ModelVersion> oldBase = givenOldBase.or(() -> patch.base().flatMap(PatchBase::model).map(ModelVersion::decoded));
    List<Finding> findings = new ArrayList<>();
    Optional<PatchedModel> patched = fit(patch, view, findings);
    Optional<BaseSketch> sketch = patch.base().flatMap(PatchBase::sketch);
    Optional<PatchBase> record = oldBase.map(PatchBase::of).or(patch::base);
    record.ifPresent(base -> findings.addAll(Structure.compareTensors(base, view)));
    oldBase.map(ModelVersion::config).or(() -> sketch.map(BaseSketch::config))
        .ifPresent(config -> findings.addAll(Structure.compareConfigs(config, view.config())));
    if (givenOldBase.isPresent()) {
      compareWithRecord(patch, givenOldBase.get(), findings);
    }
    return new Subject(patch, newBase, view, oldBase, patched, sketch, record, findings);
  }

  private Map<String, Measured> measure(Subject subject, List<TensorInfo> tensors) throws IOException {
    Map<String, Measured> measured = new ConcurrentHashMap<>();
    Progress done = new Progress(progress, bytes(tensors, subject.oldBase()));
    List<TensorInfo> largestFirst = tensors.stream().sorted(Comparator.comparingLong((TensorInfo tensor) -> -tensor.elements())).toList();
    List<Parallel.Task> tasks = new ArrayList<>();
    for (TensorInfo tensor : largestFirst) {
      tasks.add(() -> {
        measured.put(tensor.name(), measure(subject, new Tensor(subject.view(), tensor)));
        done.add(bytes(List.of(tensor), subject.oldBase()));
      });
    }
    Parallel.run(threads, cancelled, tasks);
    return measured;
  }

  private static long bytes(List<TensorInfo> tensors, Optional<ModelVersion> oldBase) {
    long bytes = 0;
    for (TensorInfo tensor : tensors) {
      bytes += tensor.bytes() + oldBase.flatMap(base -> base.find(tensor.name())).map(TensorInfo::bytes).orElse(0L);
    }
    return bytes;
  }

  /** The new base with the patch on it, unless it does not fit. Overflow is counted, not refused. */
  private Optional<PatchedModel> fit(Patch patch, ModelVersion view, List<Finding> findings) {
    try {
      return Optional.of(PatchedModel.of(patch, view, options.allow(Allow.OVERFLOW)));
    } catch (IncompatibleModelException e) {
      for (Mismatch mismatch : e.mismatches()) {
        findings.add(new Finding(Severity.BLOCKING, mismatch.toString()));
      }
      return Optional.empty();
    }
  }

  /** The caller may have named another model than the patch remembers. */
  private static void compareWithRecord(Patch patch, ModelVersion given, List<Finding> findings) {
    patch.base()
        .filter(base -> !base.tensors().stream().collect(Collectors.toMap(TensorInfo::name, TensorInfo::shape))
            .equals(given.tensors().stream().collect(Collectors.toMap(TensorInfo::name, TensorInfo::shape))))
        .ifPresent(base -> findings.add(
            new Finding(
                Severity.WARNING,
                "the old base given, " + Names.quote(given.name()) + ", has other tensors than " + Names.quote(base.name())
                    + ", on which the patch was made")));
  }

  private Measured measure(Subject subject, Tensor tensor) throws IOException {
    Patch patch = subject.patch();
    Optional<ModelVersion> oldBase = subject.oldBase();
    Optional<PatchedModel> patched = subject.patched();
    boolean storedAsSeen = subject.newBase() == subject.view();
    TensorInfo info = tensor.info();
    Optional<Tensor> old = oldBase.flatMap(base -> base.tensor(info.name())).filter(before -> isComparable(before.info(), info));
    boolean sameShape = patch.base().stream().flatMap(base -> base.tensors().stream())
        .anyMatch(before -> before.name().equals(info.name()) && before.shape().equals(info.shape()));
    Optional<TensorSketch> recorded = oldBase.isPresent() || !sameShape
        ? Optional.empty()
        : subject.sketch().map(known -> known.tensors().get(info.name()));
    Optional<Delta> delta = patched.map(model -> model.change(info.name())).orElse(Optional.ofNullable(patch.deltas().get(info.name())))
        .filter(change -> !(change instanceof Delta.Unchanged) && !patch.isExact())
        .filter(change -> change.shape().columns() == info.shape().columns());
    Optional<PatchedModel> onto = patched.filter(model -> model.changes(info.name()));
    TensorMeasure measure = new TensorMeasure(tensor, old, recorded, delta, onto, cancelled);
    Sums sums = measure.measure();
    boolean sameType = old.map(before -> before.info().equals(info)).orElse(false);
    boolean identical = sameType && sums.updateSquares == 0 && sums.nonFinite == 0;
    if (oldBase.isEmpty() && storedAsSeen && (!sums.hasUpdate || sums.updateSquares <= ALMOST_SAME * ALMOST_SAME * sums.oldSquares)) {
      identical = hasRecordedDigest(patch, tensor);
      if (identical) {
        // What was the same to the bit is as good as at hand.
        sums = new TensorMeasure(tensor, Optional.of(tensor), Optional.empty(), delta, onto, cancelled).measure();
      }
    }
    return new Measured(sums, identical, measure.refusal());
  }

  private static boolean hasRecordedDigest(Patch patch, Tensor tensor) throws IOException {
    String digest = patch.base().map(base -> base.digests().get(tensor.info().name())).orElse(null);
    return digest != null && digest.equals(Fingerprint.digest(tensor.version(), tensor.info()));
  }

  private static boolean isComparable(TensorInfo before, TensorInfo now) {
    return before.dtype().isArithmetic()
        && before.shape().rank() == now.shape().rank()
        && before.shape().columns() == now.shape().columns()
        && (before.shape().equals(now.shape()) || now.shape().rank() >= 2);
  }

  private PortabilityReport report(Subject subject, Map<String, Measured> measured) throws IOException {
    Patch patch = subject.patch();
    ModelVersion newBase = subject.newBase();
    List<Finding> findings = subject.findings();
    boolean storedAsSeen = subject.view() == newBase;
    Optional<Storage> storage = storedAsSeen || subject.patched().isEmpty() ? Optional.empty() : storage(patch, newBase, findings);
    Sums all = new Sums();
    Sums changed = new Sums();
    List<TensorReport> reports = new ArrayList<>();
    LineageFinder lineage = new LineageFinder();
    for (TensorInfo tensor : measured(newBase)) {
      Measured found = measured.get(tensor.name());
      all.add(found.sums());
      if (found.sums().hasChange) {
        changed.add(found.sums());
      }
      lineage.add(tensor, found.sums(), found.identical());
      reports.add(Facts.ofTensor(tensor.name(), found.sums()));
      if (found.refusal() != null) {
        findings.add(new Finding(Severity.BLOCKING, found.refusal()));
      }
    }
    addRounding(changed, storage, findings);
    findings.sort(Comparator.comparing(Finding::severity).reversed());
    TensorReport patchedTotal = Facts.ofGroup("changed by the patch", changed);
    TensorReport total = Facts.ofGroup("all tensors", all);
    Lineage line = lineage.find();
    Evidence evidence = subject.oldBase().isPresent() ? Evidence.WEIGHTS : all.hasUpdate ? Evidence.SKETCHES : Evidence.NONE;
    Judge judge = new Judge(patch, line, findings, patchedTotal, total);
    Judge.Judgement judgement = judge.judge();
    return new PortabilityReport(
        patch.recipe(),
        subject.record().map(PatchBase::name),
        Names.last(newBase.name()),
        evidence,
        judgement.verdict(),
        judgement.confidence(),
        judge.score(),
        judgement.reasons(),
        judgement.advice(),
        line,
        findings,
        patchedTotal,
        total,
        reports,
        storage);
  }

  /** What storing does in the new base's own form; a refusal is a finding. */
  private Optional<Storage> storage(Patch patch, ModelVersion newBase, List<Finding> findings) throws IOException {
    try {
      ModelVersion stored = newBase.patched(patch, options.allow(Allow.OVERFLOW));
      return stored instanceof StoredModel model ? Optional.of(StorageSampler.sample(model, threads, cancelled)) : Optional.empty();
    } catch (IncompatibleModelException e) {
      for (Mismatch mismatch : e.mismatches()) {
        findings.add(new Finding(Severity.BLOCKING, mismatch.toString()));
      }
      return Optional.empty();
    }
  }

  private static void addRounding(Sums changed, Optional<Storage> storage, List<Finding> findings) {
    if (changed.nonFinite > 0) {
      findings.add(new Finding(Severity.WARNING, changed.nonFinite + " weights of the tensors that the patch changes are infinite or NaN"));
    }
    if (changed.rounding.overflowed() > 0) {
      findings.add(
          new Finding(
              Severity.BLOCKING,
              changed.rounding.overflowed() + " weights would leave the range of the new base's type (allowed by "
                  + Allow.OVERFLOW.optionName() + ")"));
    }
    if (storage.isPresent()) {
      addStorage(storage.get(), findings);
    } else if (4 * changed.rounding.vanished() > changed.rounding.touched() && changed.rounding.touched() > 0) {
      findings.add(
          new Finding(
              Severity.WARNING,
              "rounding to the new base's type leaves "
                  + ReportText.percent((double) changed.rounding.vanished() / changed.rounding.touched())
                  + " of the changed weights as they were: the patch is small next to the type's steps"));
    }
  }

  private static void addStorage(Storage storage, List<Finding> findings) {
    String types = storage.types().stream().map(DType::name).collect(Collectors.joining(", "));
    boolean quantised = storage.quantised().blocks() > 0;
    if (quantised && (storage.quantised().error() > 1 || storage.quantised().kept() < LEAST_KEPT)) {
      findings.add(
          new Finding(
              Severity.WARNING,
              "quantising to " + types + " keeps " + ReportText.percent(storage.quantised().kept()) + " of the change and adds an error of "
                  + ReportText.number(storage.quantised().error()) + " times its size: the patch is lost among the type's steps"));
    } else if (!quantised && 4 * storage.rounding().vanished() > storage.rounding().touched() && storage.rounding().touched() > 0) {
      findings.add(
          new Finding(
              Severity.WARNING,
              "rounding to " + types + " leaves "
                  + ReportText.percent((double) storage.rounding().vanished() / storage.rounding().touched())
                  + " of the changed weights as they were: the patch is small next to the type's steps"));
    }
    if (storage.rounding().overflowed() > 0) {
      findings.add(
          new Finding(
              Severity.BLOCKING,
              storage.rounding().overflowed() + " of " + storage.sampled() + " sampled weights would leave the range of " + types
                  + " (allowed by " + Allow.OVERFLOW.optionName() + ")"));
    }
  }
}
