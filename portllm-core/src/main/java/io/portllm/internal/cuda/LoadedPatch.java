package io.portllm.internal.cuda;

import com.google.common.collect.ImmutableList;
import io.portllm.Patch;
import io.portllm.cuda.ResidentPatch;
import io.portllm.internal.patch.PatchedModel;
import io.portllm.internal.run.Parallel.Task;
import io.portllm.internal.text.Names;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;

/** A patch in device memory. Guarded by its model. */
final class LoadedPatch implements ResidentPatch {
  private final LoadedModel model;
  private final Patch patch;
  private final PatchedModel fitted;
  private final ImmutableList<PreparedChange> tensors;
  private boolean closed;

  LoadedPatch(LoadedModel model, Patch patch, PatchedModel fitted) {
    this.model = model;
    this.patch = patch;
    this.fitted = fitted;
    this.tensors = fitted.tensors().stream()
        .filter(tensor -> fitted.changes(tensor.name()))
        .map(tensor -> model.slot(tensor.name()))
        .filter(slot -> slot.info.elements() > 0)
        .map(this::change)
        .collect(ImmutableList.toImmutableList());
  }

  private PreparedChange change(Slot slot) {
    return new PreparedChange(model, fitted, slot);
  }

  /** Brings the values to the device. */
  void prepare() throws IOException {
    try {
      List<Task> tasks = new ArrayList<>();
      for (PreparedChange tensor : tensors) {
        tasks.addAll(tensor.prepare());
      }
      DeviceWeights.run(tasks);
    } catch (Throwable e) {
      free();
      throw e;
    }
  }

  LoadedModel model() {
    return model;
  }

  PatchedModel fitted() {
    return fitted;
  }

  List<PreparedChange> tensors() {
    return tensors;
  }

  @Override
  public Patch patch() {
    return patch;
  }

  @Override
  public long deviceBytes() {
    return tensors.stream().mapToLong(PreparedChange::bytes).sum();
  }

  boolean isClosed() {
    return closed;
  }

  void requireOpen() {
    if (closed) {
      throw new IllegalStateException("the patch " + Names.quote(patch.recipe()) + " in device memory was closed");
    }
  }

  void free() {
    tensors.forEach(PreparedChange::free);
  }

  @Override
  public void close() {
    synchronized (model) {
      if (!closed) {
        closed = true;
        model.freeUnlessOn(this);
      }
    }
  }
}
