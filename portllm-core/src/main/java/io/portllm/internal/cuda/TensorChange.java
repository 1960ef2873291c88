package io.portllm.internal.cuda;

import io.portllm.Delta;
import io.portllm.Rounding;
import io.portllm.TensorInfo;
import io.portllm.internal.buffer.DirectBuffers;
import io.portllm.internal.patch.PatchedModel;
import io.portllm.internal.patch.Terms;
import io.portllm.internal.run.Parallel.Task;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;

/** The change of one tensor in device memory: merged there, or, where no kernel can, computed on the processor. */
abstract class TensorChange {
  /** Elements of a run whose changes are read and copied; a multiple of what kernels need for alignment. */
  static final int RUN = 1 << 20;
  /** Elements of a run of which only factors are read. */
  private static final int LONG_RUN = 1 << 30;

  final LoadedModel model;
  final PatchedModel fitted;
  final Slot slot;
  private final AtomicReference<Rounding> computed = new AtomicReference<>(Rounding.NONE);

  TensorChange(LoadedModel model, PatchedModel fitted, Slot slot) {
    this.model = model;
    this.fitted = fitted;
    this.slot = slot;
  }

  /** The change of a tensor whose values are read each time. */
  static TensorChange streamed(LoadedModel model, PatchedModel fitted, Slot slot) {
    return new StreamedChange(model, fitted, slot);
  }

  Slot slot() {
    return slot;
  }

  /** What the processor counted of weights that it computed. */
  final Rounding computed() {
    return computed.get();
  }

  /** Whether every element is written from those of the source, so that they need not stand in the target. */
  abstract boolean writesAll();

  /** Bits to be flipped in place of merging; 0 if there are none. */
  long mask() {
    return 0;
  }

  /**
   * Starts the merging.
   *
   * @param source the weights without any patch: the tensor itself, unless {@link #writesAll}
   * @param counts where the kernels count
   * @return what else is to be done, by any threads
   */
  abstract List<Task> start(DeviceStream stream, long source, long counts);

  /** Whether kernels add it; else the processor computes the weights. */
  final boolean isMerged() {
    return delta().isAdditive() && Kernels.runsOn(slot.info.dtype());
  }

  private Delta delta() {
    return fitted.change(slot.info.name()).orElseThrow();
  }

  /** What is done with a run. */
  interface RunUse {
    void run(long first, int count, Launch launch);
  }

  /** Reads what is added, run by run. */
  final List<Task> runs(DirectBuffers room, RunUse use) {
    boolean onlyFactors = Terms.of(delta()).stream().allMatch(term -> term.delta() instanceof Delta.LowRank);
    int step = onlyFactors ? LONG_RUN : RUN;
    List<Task> tasks = new ArrayList<>();
    for (long first = 0; first < slot.info.elements(); first += step) {
      long from = first;
      int count = (int) Math.min(step, slot.info.elements() - first);
      tasks.add(() -> fitted.readOperands(slot.info, from, count, room, operands -> {
        if (!operands.isEmpty()) {
          use.run(from, count, Launches.of(slot.info.dtype(), count, operands));
        }
      }));
    }
    return tasks;
  }

  /** What is done with new weights that the processor computed, from byte {@code at} on. */
  interface BytesUse {
    void run(Lane lane, long at, ByteBuffer bytes) throws IOException;
  }

  /** Computes the new weights on the processor. */
  final List<Task> compute(BytesUse use) {
    computed.set(Rounding.NONE);
    TensorInfo info = slot.info;
    return DeviceWeights.pieces(slot, (from, length) -> model.lanes().use(lane -> {
      ByteBuffer host = lane.host(length);
      computed.accumulateAndGet(fitted.readCounting(info, from, host), Rounding::plus);
      use.run(lane, from, host.flip());
    }));
  }
}
