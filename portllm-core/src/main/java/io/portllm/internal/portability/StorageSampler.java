package io.portllm.internal.portability;

import io.portllm.DType;
import io.portllm.IncompatibleModelException;
import io.portllm.TensorInfo;
import io.portllm.internal.patch.StoredModel;
import io.portllm.internal.patch.StoredModel.Loss;
import io.portllm.internal.run.Parallel;
import io.portllm.portability.Storage;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.BooleanSupplier;

/**
 * Stores a sample of the changed tensors anew. Quantising all would take many times as long as reading; the standard error of a share over
 * the 16,384 weights of one tensor is below 0.4 %, for independent weights, and of a model's less.
 */
final class StorageSampler {
  /** Elements of a run: whole blocks of every type. */
  private static final int RUN = 1024;

  /** Runs of one tensor. */
  private static final int RUNS = 16;

  private StorageSampler() {}

  /**
   * Samples a patched model.
   *
   * @throws IncompatibleModelException if weights of the sample cannot be stored
   */
  static Storage sample(StoredModel model, int threads, BooleanSupplier cancelled) throws IOException {
    List<TensorInfo> changed = model.tensors().stream().filter(tensor -> model.changes(tensor.name()) && tensor.elements() > 0).toList();
    Map<String, Loss> losses = new ConcurrentHashMap<>();
    List<Parallel.Task> tasks = new ArrayList<>();
    for (TensorInfo tensor : changed) {
      tasks.add(() -> losses.put(tensor.name(), sample(model, tensor)));
    }
    Parallel.run(threads, cancelled, tasks);
    Loss all = Loss.NONE;
    TreeSet<DType> types = new TreeSet<>();
    long weights = 0;
    long sampled = 0;
    for (TensorInfo tensor : changed) {
      all = all.plus(losses.get(tensor.name()));
      types.add(tensor.dtype());
      weights += tensor.elements();
      sampled += places(tensor).stream().mapToLong(run -> length(tensor, run)).sum();
    }
    Storage.Blocks blocks = new Storage.Blocks(
        all.blocks(),
        all.blocks() - all.changedBlocks(),
        all.change() == 0 ? 1 : all.overlap() / all.change(),
        all.error() == 0 ? 0 : Math.sqrt(all.error() / all.change()));
    return new Storage(List.copyOf(types), changed.size(), weights, sampled, all.rounding(), blocks);
  }

  private static Loss sample(StoredModel model, TensorInfo tensor) throws IOException {
    DType type = tensor.dtype();
    Loss loss = Loss.NONE;
    for (long run : places(tensor)) {
      long offset = run * RUN / type.blockElements() * type.blockBytes();
      int bytes = (int) (length(tensor, run) / type.blockElements() * type.blockBytes());
      loss = loss.plus(model.measure(tensor, offset, ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN)));
    }
    return loss;
  }

  private static long length(TensorInfo tensor, long run) {
    return Math.min(RUN, tensor.elements() - run * RUN);
  }

  /** The numbers of the runs in the sample, each once. */
  private static SortedSet<Long> places(TensorInfo tensor) {
    long runs = (tensor.elements() + RUN - 1) / RUN;
    SortedSet<Long> places = new TreeSet<>();
    for (long i = 0; places.size() < Math.min(RUNS, runs); i++) {
      places.add(runs <= RUNS ? i : Math.floorMod(Hashes.bits(Hashes.SAMPLES, i), runs));
    }
    return places;
  }
}
