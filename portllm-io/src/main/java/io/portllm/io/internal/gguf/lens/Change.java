package io.portllm.io.internal.gguf.lens;

import io.portllm.Rounding;
import io.portllm.TensorInfo;
import io.portllm.internal.patch.PatchedModel;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;

/** Changes a run of a GGUF tensor as a patch changes the Hugging Face tensor that it is a run of. Safe for use by many threads. */
final class Change {
  private final PatchedModel patched;

  Change(PatchedModel patched) {
    this.patched = patched;
  }

  /**
   * Changes elements of a stretch.
   *
   * @param first the first, counted from the start of the stretch in the GGUF tensor
   * @param count how many; of a transposed tensor, whole rows or a part of one
   * @param scratch holds the elements in {@code before} from index 0, and receives the changed ones in {@code after}
   */
  Rounding run(Stretch stretch, long first, int count, Scratch scratch) throws IOException {
    TensorInfo source = patched.find(stretch.source()).orElseThrow();
    int size = source.dtype().bytes();
    scratch.before.clear();
    scratch.after.clear();
    scratch.ordered.clear();
    return switch (stretch.form()) {
      case SAME -> {
        ByteBuffer after = slice(scratch.after, 0, count * size);
        after.put(0, scratch.before, 0, count * size);
        yield patched.change(source, (stretch.sourceStart() + first) * size, after);
      }
      case PERMUTED -> permuted(stretch, first, count, source, scratch);
      case TRANSPOSED -> transposed(stretch, first, count, source, scratch);
    };
  }

  private static ByteBuffer slice(ByteBuffer buffer, int index, int length) {
    return buffer.slice(index, length).order(ByteOrder.LITTLE_ENDIAN);
  }

  private Rounding permuted(Stretch stretch, long first, int count, TensorInfo source, Scratch scratch) throws IOException {
    int size = source.dtype().bytes();
    Part[] parts = parts(stretch, first, count);
    int at = 0;
    for (Part part : parts) {
      scratch.ordered.put(at * size, scratch.before, part.inRun() * size, part.length() * size);
      at += part.length();
    }
    Rounding total = changeInOrder(stretch, parts, source, scratch.ordered);
    at = 0;
    for (Part part : parts) {
      scratch.after.put(part.inRun() * size, scratch.ordered, at * size, part.length() * size);
      at += part.length();
    }
    return total;
  }

  /** Changes parts that lie one behind the other in {@code ordered}: those that are neighbours in the Hugging Face tensor together. */
  private Rounding changeInOrder(Stretch stretch, Part[] parts, TensorInfo source, ByteBuffer ordered) throws IOException {
    int size = source.dtype().bytes();
    Rounding total = Rounding.NONE;
    int at = 0;
    for (int from = 0; from < parts.length; ) {
      int to = from;
      int length = 0;
      while (to < parts.length && parts[to].source() == parts[from].source() + length) {
        length += parts[to++].length();
      }
      ByteBuffer run = slice(ordered, at * size, length * size);
      total = total.plus(patched.change(source, (stretch.sourceStart() + parts[from].source()) * size, run));
      at += length;
      from = to;
    }
    return total;
  }

  /**
   * A row, or the part of it that lies in a run.
   *
   * @param source its first element in the Hugging Face tensor, counted from the start of the stretch
   * @param inRun its first element, counted from the start of the run of the GGUF tensor
   * @param length its elements
   */
  private record Part(long source, int inRun, int length) implements Comparable<Part> {
    @Override
    public int compareTo(Part other) {
      return Long.compare(source, other.source);
    }
  }

  private static Part[] parts(Stretch stretch, long first, int count) {
    long rowLength = stretch.rowLength();
    long firstRow = first / rowLength;
    Part[] parts = new Part[(int) ((first + count - 1) / rowLength - firstRow + 1)];
    for (int i = 0; i < parts.length; i++) {
      long row = firstRow + i;
      long from = Math.max(first, row * rowLength);
      long to = Math.min(first + count, (row + 1) * rowLength);
      parts[i] = new Part(stretch.order().sourceOf(row) * rowLength + from - row * rowLength, (int) (from - first), (int) (to - from));
    }
    Arrays.sort(parts);
    return parts;
  }

  private Rounding transposed(Stretch stretch, long first, int count, TensorInfo source, Scratch scratch) throws IOException {
    int size = source.dtype().bytes();
    long columns = stretch.rows();
    long rowLength = stretch.rowLength();
    long firstRow = first / rowLength;
    int rows = (int) ((first + count - 1) / rowLength - firstRow + 1);
    int width = count / rows;
    long firstColumn = first % rowLength;
    Elements.transpose(scratch.before, rows, width, size, scratch.ordered);
    Rounding total = Rounding.NONE;
    for (int i = 0; i < width; i++) {
      ByteBuffer run = slice(scratch.ordered, i * rows * size, rows * size);
      total = total.plus(patched.change(source, (stretch.sourceStart() + (firstColumn + i) * columns + firstRow) * size, run));
    }
    Elements.transpose(scratch.ordered, width, rows, size, scratch.after);
    return total;
  }
}
