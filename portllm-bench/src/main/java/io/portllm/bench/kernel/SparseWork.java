package io.portllm.bench.kernel;

import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.MergeOptions;
import io.portllm.Merger;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.Rounding;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Map;
import java.util.Optional;
import java.util.Random;

/** A tenth of the weights changes, by a stored patch on a model in memory: decoding included, weights copied and not replaced. */
final class SparseWork implements KernelChange.Work {
  private static final String NAME = "w";

  private final ModelVersion patched;
  private final TensorInfo tensor;
  private final int elements;
  private final long bytes;

  SparseWork(Merger merger, DType dtype, ByteBuffer weights, int count) throws IOException {
    Shape shape = Shape.of(count / KernelChange.COLUMNS, KernelChange.COLUMNS);
    tensor = new TensorInfo(NAME, dtype, shape);
    elements = KernelChange.chunkElements(dtype);
    MemoryModel base = new MemoryModel("base");
    base.add(tensor, weights);
    Delta.Sparse delta = delta(dtype, shape);
    Patch patch = Patch.of(Map.of(NAME, delta), Optional.empty(), "sparse");
    patched = patch.applyTo(base, MergeOptions.defaults().withMerger(merger));
    bytes = 2L * count * dtype.bytes() + delta.positions().info().bytes() + ((Delta.Dense) delta.values()).values().info().bytes();
  }

  private static Delta.Sparse delta(DType dtype, Shape shape) {
    long blocks = (shape.elements() + Delta.Sparse.BLOCK - 1) / Delta.Sparse.BLOCK;
    ByteBuffer offsets = ByteBuffer.allocate((int) (16 * (blocks + 1))).order(ByteOrder.LITTLE_ENDIAN);
    ByteArrayOutputStream gaps = new ByteArrayOutputStream();
    Random random = new Random(7);
    long kept = 0;
    for (long block = 0; block < blocks; block++) {
      offsets.putLong(kept).putLong(gaps.size());
      long length = Math.min(Delta.Sparse.BLOCK, shape.elements() - block * Delta.Sparse.BLOCK);
      int gap = random.nextInt(19);
      for (long at = gap; at < length; at += 1 + gap) {
        gaps.write(gap);
        kept++;
        gap = random.nextInt(19);
      }
    }
    offsets.putLong(kept).putLong(gaps.size());
    MemoryModel stored = new MemoryModel("patch");
    ByteBuffer values = Weights.normal(dtype, (int) kept, 1e-3, 8);
    return new Delta.Sparse(
        stored.add(new TensorInfo("positions", DType.U8, Shape.of(gaps.size())), ByteBuffer.wrap(gaps.toByteArray())),
        stored.add(new TensorInfo("offsets", DType.I64, Shape.of(blocks + 1, 2)), offsets),
        Delta.Sparse.Coding.GAPS,
        new Delta.Dense(stored.add(new TensorInfo("values", dtype, Shape.of(kept)), values)),
        shape);
  }

  @Override
  public Rounding change(int chunk, ByteBuffer weights, boolean isBack) throws IOException {
    patched.read(tensor, (long) chunk * elements * tensor.dtype().bytes(), weights.duplicate());
    return Rounding.NONE;
  }

  @Override
  public long bytes() {
    return bytes;
  }
}
