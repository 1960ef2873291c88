package io.portllm.io.internal.gguf.lens;

import io.portllm.DType;
import io.portllm.IncompatibleModelException;
import io.portllm.Mismatch;
import io.portllm.ModelVersion;
import io.portllm.TensorInfo;
import io.portllm.internal.kernel.Floats;
import io.portllm.internal.run.Progress;
import io.portllm.internal.text.Names;
import io.portllm.io.WriteOptions;
import io.portllm.io.internal.write.Parallel;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.ConcurrentSkipListMap;

/** Compares a GGUF file with the Hugging Face checkpoint that it was converted from, weight by weight. */
public final class Proof {
  private final HuggingFaceView view;
  private final ModelVersion original;
  private final WriteOptions options;
  private final ConcurrentSkipListMap<Integer, Mismatch> mismatches = new ConcurrentSkipListMap<>();

  private Proof(HuggingFaceView view, ModelVersion original, WriteOptions options) {
    this.view = view;
    this.original = original;
    this.options = options;
  }

  /**
   * Compares every tensor.
   *
   * @param view the file, with the names of {@code original}
   * @throws IncompatibleModelException naming the first tensor whose values are further from the original's than its type explains
   */
  public static void require(HuggingFaceView view, ModelVersion original, WriteOptions options) throws IOException {
    new Proof(view, original, options).run();
  }

  private void run() throws IOException {
    List<TensorInfo> tensors = view.tensors();
    Progress progress = new Progress(options.progress(), tensors.stream().mapToLong(TensorInfo::bytes).sum());
    List<Parallel.Task> tasks = new ArrayList<>();
    for (int i = 0; i < tensors.size(); i++) {
      int number = i;
      TensorInfo tensor = tensors.get(i);
      Optional<TensorInfo> other = original.find(tensor.name());
      Optional<Mismatch> mismatch = compareHeaders(tensor, other);
      if (mismatch.isPresent()) {
        mismatches.put(number, mismatch.get());
        continue;
      }
      long rowLength = Stretch.rowLength(tensor.shape());
      long rows = Math.max(1, Decoding.RUN / Math.max(1, rowLength));
      for (long at = 0; at < tensor.elements(); at += rows * rowLength) {
        long first = at;
        int count = (int) Math.min(rows * rowLength, tensor.elements() - at);
        tasks.add(() -> compare(number, tensor, other.orElseThrow(), first, count, progress));
      }
    }
    Parallel.run(options, tasks);
    if (!mismatches.isEmpty()) {
      throw new IncompatibleModelException(
          Names.quote(view.name()) + " was not converted from " + Names.quote(original.name()), List.of(mismatches.firstEntry().getValue()));
    }
  }

  private static Optional<Mismatch> compareHeaders(TensorInfo tensor, Optional<TensorInfo> other) {
    if (other.isEmpty()) {
      return Optional.of(Mismatch.of(tensor.name(), "is in the GGUF file but not in the checkpoint"));
    }
    if (!other.get().dtype().isArithmetic()) {
      return Optional.of(Mismatch.of(tensor.name(), "is " + other.get().dtype() + " in the checkpoint, which is not compared"));
    }
    return tensor.shape().equals(other.get().shape())
        ? Optional.empty()
        : Optional.of(Mismatch.of(tensor.name(), "is " + tensor.shape() + " in the GGUF file and " + other.get().shape() + " in the checkpoint"));
  }

  private void compare(int number, TensorInfo tensor, TensorInfo other, long first, int count, Progress progress) throws IOException {
    // A tensor before the first that is known to differ is always compared, so that the one named does not depend on threads.
    if (!mismatches.headMap(number, true).isEmpty()) {
      return;
    }
    float[] found = values(view, tensor, first, count);
    float[] expected = values(original, other, first, count);
    long rowLength = Stretch.rowLength(tensor.shape());
    for (Part part : parts(tensor, first, count)) {
      DType type = part.stretch().gguf().dtype();
      Optional<String> difference =
          type.isQuantised()
              ? compareRows(type, part, rowLength, found, expected)
              : compareElements(type, part, found, expected);
      if (difference.isPresent()) {
        mismatches.putIfAbsent(number, Mismatch.of(tensor.name(), difference.get()));
        return;
      }
    }
    progress.add((long) count * tensor.dtype().bytes());
  }

  private static float[] values(ModelVersion model, TensorInfo tensor, long first, int count) throws IOException {
    int size = tensor.dtype().bytes();
    ByteBuffer bytes = ByteBuffer.allocate(count * size).order(ByteOrder.LITTLE_ENDIAN);
    model.read(tensor, first * size, bytes);
    float[] values = new float[count];
    Floats.read(tensor.dtype(), bytes, 0, values, count, new int[count]);
    return values;
  }

  /** Elements of one stretch, counted from the start of the run that is compared. */
  private record Part(Stretch stretch, int from, int to) {}

  private List<Part> parts(TensorInfo tensor, long first, int count) {
    List<Part> parts = new ArrayList<>();
    for (Stretch stretch : view.source(tensor.name()).stretches()) {
      int from = (int) (Math.max(first, stretch.sourceStart()) - first);
      int to = (int) (Math.min(first + count, stretch.sourceEnd()) - first);
      if (from < to) {
        parts.add(new Part(stretch, from, to));
      }
    }
    return parts;
  }

  private static Optional<String> compareElements(DType type, Part part, float[] found, float[] expected) {
    double relative = Bounds.ofElement(type);
    // Adding the shift and taking it away again rounds to units of the sum.
    double shift = 2 * Math.abs(part.stretch().shift());
    for (int i = part.from(); i < part.to(); i++) {
      double bound = relative * (Math.abs((double) expected[i]) + shift) + Bounds.leastOfElement(type);
      double error = Math.abs((double) found[i] - expected[i]);
      if (!(error <= bound) && Float.compare(found[i], expected[i]) != 0) {
        return Optional.of("is " + found[i] + " in the GGUF file where the checkpoint has " + expected[i] + ", which " + type + " does not explain");
      }
    }
    return Optional.empty();
  }

  private static Optional<String> compareRows(DType type, Part part, long rowLength, float[] found, float[] expected) {
    for (int row = part.from(); row < part.to(); row += (int) rowLength) {
      double errors = 0;
      double squares = 0;
      for (int i = row; i < Math.min(part.to(), row + rowLength); i++) {
        double error = (double) found[i] - expected[i];
        errors += error * error;
        squares += (double) expected[i] * expected[i];
      }
      double bound = Bounds.ofRow(type);
      if (!(errors <= bound * bound * squares)) {
        return Optional.of(
            String.format(
                Locale.ROOT,
                "has a row that differs from the checkpoint's by %.3g of its norm, where %s explains at most %.3g",
                Math.sqrt(errors / squares),
                type,
                bound));
      }
    }
    return Optional.empty();
  }
}
