package io.portllm.internal.compress;

import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.Delta.Sparse.Coding;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.internal.codes.PositionLayout;
import io.portllm.internal.kernel.StoredDifference;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;

/** The values of largest magnitude with their positions, computed as they are read. */
final class Sparsifier {
  private static final int RUN = 1 << 15;

  private final Kept kept;
  private final Coding coding;
  private final long elements;

  private Sparsifier(Kept kept, long elements) {
    this.kept = kept;
    this.elements = elements;
    this.coding = kept.gapBytesBefore(kept.blocks()) <= (elements + 7) / 8 ? Coding.GAPS : Coding.BITMAP;
  }

  /**
   * The change of a tensor in the weights that change most.
   *
   * @param name what the stored tensors are called begins with this
   * @param shape the tensor's shape
   * @param kept the values
   * @param bits of a value; none to keep values exactly, in the least of BF16, F16 and F32 that holds them all
   * @param group values that share a scale; 0 if all do
   * @param inputs what the values are computed from
   */
  static Delta.Sparse sparsify(String name, Shape shape, Kept kept, OptionalInt bits, long group, List<Tensor> inputs) throws IOException {
    Sparsifier sparsifier = new Sparsifier(kept, shape.elements());
    Shape list = Shape.of(kept.count());
    long bytes = sparsifier.coding == Coding.GAPS ? kept.gapBytesBefore(kept.blocks()) : (shape.elements() + 7) / 8;
    TensorInfo positions = new TensorInfo(name + ".positions", DType.U8, Shape.of(bytes));
    TensorInfo offsets = new TensorInfo(name + ".offsets", DType.I64, Shape.of(kept.blocks() + 1L, 2));
    TensorInfo values = new TensorInfo(name + ".delta", typeOf(kept.facts()), list);
    ComputedTensors tensors =
        new ComputedTensors(
            name,
            Map.of(
                positions, sparsifier::readPositions,
                offsets, sparsifier::readOffsets,
                values, (offset, target) -> sparsifier.readValues(values.dtype(), offset, target)),
            inputs);
    Delta change = new Delta.Dense(tensors.get(values));
    if (bits.isPresent()) {
      Statistics statistics = group == 0 ? Statistics.of(kept) : new Statistics(kept.count(), 0, 0, 0, 0);
      change = Quantiser.quantise(name, list, bits.getAsInt(), group, kept, statistics, inputs);
    }
    return new Delta.Sparse(tensors.get(positions), tensors.get(offsets), sparsifier.coding, change, shape);
  }

  private static DType typeOf(StoredDifference.Facts facts) {
    return facts.fitsBf16() ? DType.BF16 : facts.fitsF16() ? DType.F16 : DType.F32;
  }

  private long bytesBefore(int block) {
    return coding == Coding.GAPS ? kept.gapBytesBefore(block) : Math.min((long) block * Delta.Sparse.BLOCK / 8, (elements + 7) / 8);
  }

  private void readOffsets(long offset, ByteBuffer target) {
    while (target.hasRemaining()) {
      long at = (offset + target.position()) / 8;
      int block = (int) (at / 2);
      target.putLong(at % 2 == 0 ? kept.valuesBefore(block) : bytesBefore(block));
    }
  }

  private void readPositions(long offset, ByteBuffer target) throws IOException {
    int block = blockOf(offset);
    while (target.hasRemaining()) {
      int skip = (int) (offset + target.position() - bytesBefore(block));
      byte[] bytes = new byte[(int) (bytesBefore(block + 1) - bytesBefore(block))];
      if (skip < bytes.length) {
        encode(kept.positions(block), bytes);
        target.put(bytes, skip, Math.min(bytes.length - skip, target.remaining()));
      }
      block++;
    }
  }

  /** The last block whose positions begin at or before this byte. */
  private int blockOf(long offset) {
    int low = 0;
    int high = kept.blocks() - 1;
    while (low < high) {
      int middle = (low + high + 1) >>> 1;
      if (bytesBefore(middle) <= offset) {
        low = middle;
      } else {
        high = middle - 1;
      }
    }
    return low;
  }

  private void encode(int[] positions, byte[] bytes) {
    int next = 0;
    int at = 0;
    for (int position : positions) {
      if (coding == Coding.BITMAP) {
        bytes[position >> 3] |= (byte) (1 << (position & 7));
        continue;
      }
      int gap = position - next;
      for (; gap >= PositionLayout.SKIP; gap -= PositionLayout.SKIP) {
        bytes[at++] = (byte) PositionLayout.SKIP;
      }
      bytes[at++] = (byte) gap;
      next = position + 1;
    }
  }

  private void readValues(DType type, long offset, ByteBuffer target) throws IOException {
    float[] values = new float[RUN];
    while (target.hasRemaining()) {
      int count = Math.min(RUN, target.remaining() / type.bytes());
      kept.read((offset + target.position()) / type.bytes(), count, values);
      StoredDifference.write(values, count, type, target.slice().order(target.order()));
      target.position(target.position() + count * type.bytes());
    }
  }
}
