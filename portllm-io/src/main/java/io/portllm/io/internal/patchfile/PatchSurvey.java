package io.portllm.io.internal.patchfile;

import com.google.common.hash.Hasher;
import com.google.common.hash.Hashing;
import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.Fingerprint;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.PatchBase;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.internal.buffer.DirectBuffers;
import io.portllm.internal.kernel.StoredDifference;
import io.portllm.internal.patch.Equality;
import io.portllm.internal.patch.Terms;
import io.portllm.internal.patch.TwoTensors;
import io.portllm.internal.portability.BaseSketcher;
import io.portllm.internal.run.Progress;
import io.portllm.io.WriteOptions;
import io.portllm.io.internal.write.Parallel;
import io.portllm.portability.BaseSketch;
import io.portllm.portability.TensorSketch;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;

/**
 * The first pass over what a patch is made of: finds differences that are zero everywhere, the least type that holds the others exactly,
 * how long the payloads of exact changes are, the base's fingerprint and its sketch.
 */
final class PatchSurvey {
  private static final int BLOCK_BYTES = 1 << 20;

  private final Map<Delta.Difference, StoredDifference.Facts> differences = new ConcurrentHashMap<>();
  private final Map<Delta.Difference, String> digestsOfDifferences = new ConcurrentHashMap<>();
  private final Map<String, String> digests = new ConcurrentHashMap<>();
  private final Map<String, ExactPayloads> exact = new ConcurrentHashMap<>();
  private final ConcurrentLinkedQueue<ExactPayload.Coder> coders = new ConcurrentLinkedQueue<>();
  private final Map<String, TensorSketch> sketches = new ConcurrentHashMap<>();
  private final DirectBuffers buffers = new DirectBuffers(BLOCK_BYTES);

  private PatchSurvey() {}

  static PatchSurvey of(Patch patch, WriteOptions options) throws IOException {
    PatchSurvey survey = new PatchSurvey();
    List<Parallel.Task> tasks = new ArrayList<>();
    long bytes = 0;
    Optional<ModelVersion> base = patch.base().filter(record -> record.fingerprint().isEmpty()).flatMap(PatchBase::model);
    if (base.isPresent()) {
      for (TensorInfo tensor : base.get().tensors()) {
        bytes += tensor.bytes();
      }
    }
    List<Tensor> sketched = sketched(patch, options);
    bytes += sketched.stream().mapToLong(tensor -> tensor.info().bytes()).sum();
    List<Delta.Difference> pairs = new ArrayList<>();
    Map<String, TwoTensors> bits = new TreeMap<>();
    for (Map.Entry<String, Delta> entry : patch.deltas().entrySet()) {
      if (entry.getValue() instanceof Delta.Unchanged same) {
        tasks.add(() -> Equality.require(entry.getKey(), same, 0, same.base().info().bytes(), survey.buffers));
      } else if (entry.getValue() instanceof Delta.Exact exact && exact.change() instanceof TwoTensors two) {
        bits.put(entry.getKey(), two);
      } else if (entry.getValue().isAdditive()) {
        Terms.of(entry.getValue()).stream().map(Delta.Term::delta).filter(Delta.Difference.class::isInstance)
            .forEach(delta -> pairs.add((Delta.Difference) delta));
      }
    }
    for (Delta.Difference pair : pairs) {
      bytes += pair.shape().elements() * (pair.tuned().info().dtype().bytes() + pair.base().info().dtype().bytes());
    }
    for (TwoTensors two : bits.values()) {
      bytes += two.inputs().stream().mapToLong(tensor -> tensor.info().bytes()).sum();
      // The survey of its bits gives the digest of a base's tensor too.
      bytes -= isOf(base, two) ? two.old().get().info().bytes() : 0;
    }
    Progress progress = new Progress(options.progress(), bytes);
    bits.forEach((name, two) -> tasks.add(() -> survey.examine(name, two, isOf(base, two), progress)));
    base.ifPresent(
        model ->
            model.tensors().stream()
                .filter(tensor -> !bits.containsKey(tensor.name()) || !isOf(base, bits.get(tensor.name())))
                .forEach(tensor -> tasks.add(() -> survey.digest(model, tensor, progress))));
    pairs.forEach(pair -> tasks.add(() -> survey.examine(pair, progress)));
    sketched.forEach(tensor -> tasks.add(() -> survey.sketch(tensor, patch, progress)));
    Parallel.run(options, tasks);
    return survey;
  }

  /** The base's fingerprint, if the base was at hand. */
  Optional<Fingerprint> fingerprint() {
    return digests.isEmpty() ? Optional.empty() : Optional.of(Fingerprint.of(digests));
  }

  /** A sketch of the base, if it was at hand and one is wanted. */
  Optional<BaseSketch> sketch(PatchBase base) {
    return sketches.isEmpty()
        ? base.sketch()
        : Optional.of(new BaseSketch(base.model().map(BaseSketcher::settings).orElse(Map.of()), sketches));
  }

  /** The tensors of the base to sketch: none for an exact patch, which fits that base alone. */
  private static List<Tensor> sketched(Patch patch, WriteOptions options) {
    Optional<ModelVersion> base = patch.base().flatMap(PatchBase::model).map(ModelVersion::decoded);
    if (base.isEmpty() || patch.isExact() || !options.sketches()) {
      return List.of();
    }
    return base.get().tensors().stream().filter(BaseSketcher::isSketched).map(tensor -> new Tensor(base.get(), tensor)).toList();
  }

  private void sketch(Tensor tensor, Patch patch, Progress progress) throws IOException {
    TensorSketch sketch = BaseSketcher.sketch(tensor, Optional.ofNullable(patch.deltas().get(tensor.info().name())));
    if (SketchCoding.isStorable(sketch)) {
      sketches.put(tensor.info().name(), sketch);
    }
    progress.add(tensor.info().bytes());
  }

  /** Whether every difference is zero. */
  boolean isZero(Delta.Difference difference) {
    return differences.get(difference).allZero();
  }

  /** The least type that holds every difference exactly. */
  DType typeOf(Delta.Difference difference) {
    if (isWide(difference.tuned()) || isWide(difference.base())) {
      return DType.F64;
    }
    StoredDifference.Facts facts = differences.get(difference);
    return facts.fitsBf16() ? DType.BF16 : facts.fitsF16() ? DType.F16 : DType.F32;
  }

  /** The SHA-256 of a difference as it is stored. */
  String digestOf(Delta.Difference difference) {
    return digestsOfDifferences.get(difference);
  }

  /** The payloads between two tensors. */
  ExactPayloads exact(String tensor) {
    return exact.get(tensor);
  }

  private static boolean isOf(Optional<ModelVersion> base, TwoTensors two) {
    return base.isPresent() && two.old().isPresent() && two.old().get().version() == base.get();
  }

  private void examine(String tensor, TwoTensors two, boolean isOfBase, Progress progress) throws IOException {
    ExactPayloads payloads = ExactPayloads.survey(two, coders, progress);
    if (isOfBase) {
      digests.put(tensor, payloads.digestBefore().orElseThrow());
    }
    exact.put(tensor, payloads);
  }

  static boolean isWide(Tensor tensor) {
    return tensor.info().dtype() == DType.F64;
  }

  private void digest(ModelVersion model, TensorInfo tensor, Progress progress) throws IOException {
    digests.put(tensor.name(), Fingerprint.digest(model, tensor));
    progress.add(tensor.bytes());
  }

  private void examine(Delta.Difference pair, Progress progress) throws IOException {
    DType tunedType = pair.tuned().info().dtype();
    DType baseType = pair.base().info().dtype();
    int step = BLOCK_BYTES / 8;
    long elements = pair.shape().elements();
    StoredDifference.Facts facts = StoredDifference.Facts.NONE;
    // Which type it is stored in is known at the end only.
    boolean isWide = isWide(pair.tuned()) || isWide(pair.base());
    float[] values = new float[isWide ? 0 : step];
    Map<DType, Hasher> hashers = new EnumMap<>(DType.class);
    for (DType type : isWide ? List.of(DType.F64) : List.of(DType.BF16, DType.F16, DType.F32)) {
      hashers.put(type, Hashing.sha256().newHasher());
    }
    ByteBuffer stored = buffers.lend(0);
    ByteBuffer tuned = buffers.lend(0);
    ByteBuffer base = buffers.lend(0);
    try {
      for (long first = 0; first < elements; first += step) {
        int count = (int) Math.min(step, elements - first);
        pair.tuned().read(first * tunedType.bytes(), tuned.clear().limit(count * tunedType.bytes()));
        pair.base().read(first * baseType.bytes(), base.clear().limit(count * baseType.bytes()));
        if (isWide) {
          facts = StoredDifference.examine(facts, tunedType, tuned.flip(), baseType, base.flip(), count);
        } else {
          StoredDifference.read(tunedType, tuned.flip(), baseType, base.flip(), values, count);
          facts = StoredDifference.examine(facts, values, count);
        }
        if (!facts.fitsBf16()) {
          hashers.remove(DType.BF16);
        }
        if (!facts.fitsF16()) {
          hashers.remove(DType.F16);
        }
        for (Map.Entry<DType, Hasher> entry : hashers.entrySet()) {
          stored.clear().limit(count * entry.getKey().bytes()).order(ByteOrder.LITTLE_ENDIAN);
          if (isWide) {
            StoredDifference.write(tunedType, tuned.rewind(), baseType, base.rewind(), entry.getKey(), stored, count);
          } else {
            StoredDifference.write(values, count, entry.getKey(), stored);
          }
          entry.getValue().putBytes(stored.rewind());
        }
        progress.add((long) count * (tunedType.bytes() + baseType.bytes()));
      }
    } finally {
      buffers.takeBack(tuned);
      buffers.takeBack(base);
      buffers.takeBack(stored);
    }
    differences.put(pair, facts);
    digestsOfDifferences.put(pair, hashers.get(typeOf(pair)).hash().toString());
  }
}
