package io.portllm.internal.cuda;

import io.portllm.IncompatibleModelException;
import io.portllm.MergeOptions;
import io.portllm.Mismatch;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.Rounding;
import io.portllm.TensorInfo;
import io.portllm.cuda.Originals;
import io.portllm.cuda.ResidentModel;
import io.portllm.cuda.ResidentPatch;
import io.portllm.internal.buffer.DirectBuffers;
import io.portllm.internal.patch.PatchedModel;
import io.portllm.internal.run.Parallel;
import io.portllm.internal.text.Names;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;

/** A model in device memory. */
public final class LoadedModel implements ResidentModel {
  /** Bytes of what the kernels count for one tensor. */
  private static final int COUNTS = 32;

  private final Device device;
  private final ModelVersion source;
  private final DeviceWeights weights;
  /** Room for the operands of a run; elements have up to 8 bytes. */
  private final DirectBuffers room = new DirectBuffers(8 * TensorChange.RUN);
  /** What the kernels count for each tensor that is changed. */
  private long counts;
  private Optional<Patch> active = Optional.empty();
  private LoadedPatch prepared;
  private int changes;
  private boolean closed;

  private LoadedModel(Device device, ModelVersion source, Originals originals) {
    this.device = device;
    this.source = source;
    this.weights = new DeviceWeights(device, source, originals);
  }

  /** Copies {@code source} to {@code device}. */
  public static LoadedModel load(Device device, ModelVersion source, Originals originals) throws IOException {
    LoadedModel model = new LoadedModel(device, source, originals);
    try {
      model.weights.load();
      model.counts = device.allocate(Math.max(1, (long) COUNTS * source.tensors().size()));
    } catch (Throwable e) {
      model.close();
      throw e;
    }
    return model;
  }

  /** Works on a model that lies at {@code addresses} of {@code device}. */
  public static LoadedModel over(Device device, ModelVersion source, Map<String, Long> addresses, Originals originals) {
    LoadedModel model = new LoadedModel(device, source, originals);
    try {
      model.weights.adopt(addresses);
      model.counts = device.allocate(Math.max(1, (long) COUNTS * source.tensors().size()));
    } catch (Throwable e) {
      model.close();
      throw e;
    }
    return model;
  }

  Device device() {
    return device;
  }

  Lanes lanes() {
    return weights.lanes();
  }

  DirectBuffers room() {
    return room;
  }

  Slot slot(String tensor) {
    return weights.slot(tensor);
  }

  @Override
  public ModelVersion source() {
    return source;
  }

  @Override
  public synchronized ResidentPatch prepare(Patch patch, MergeOptions options) throws IOException {
    LoadedPatch loaded = new LoadedPatch(this, patch, fitted(patch, options));
    loaded.prepare();
    return loaded;
  }

  private PatchedModel fitted(Patch patch, MergeOptions options) throws IOException {
    requireOpen();
    PatchedModel fitted = PatchedModel.of(patch, source, options);
    List<Mismatch> mismatches = new ArrayList<>();
    for (TensorInfo tensor : fitted.tensors()) {
      Slot slot = weights.slot(tensor.name());
      if (slot == null || !slot.info.equals(tensor)) {
        mismatches.add(Mismatch.of(tensor.name(), "is added or changes its type or shape, which no loaded model can"));
      }
    }
    for (Slot slot : weights.slots()) {
      if (fitted.find(slot.info.name()).isEmpty()) {
        mismatches.add(Mismatch.of(slot.info.name(), "is removed, which no loaded model can"));
      }
    }
    if (!mismatches.isEmpty()) {
      throw new IncompatibleModelException("the patch " + Names.quote(patch.recipe()) + " does not fit a loaded model", mismatches);
    }
    List<Parallel.Task> demands = new ArrayList<>();
    weights.slots().stream()
        .filter(slot -> fitted.change(slot.info.name()).isPresent() && !fitted.changes(slot.info.name()))
        .forEach(slot -> demands.addAll(reads(fitted, slot)));
    DeviceWeights.run(demands);
    return fitted;
  }

  /** Reads a tensor that the patch demands to be as it was, which is checked then. */
  private List<Parallel.Task> reads(PatchedModel fitted, Slot slot) {
    return DeviceWeights.pieces(slot, (from, length) -> lanes().use(lane -> fitted.read(slot.info, from, lane.host(length))));
  }

  @Override
  public synchronized Rounding apply(ResidentPatch patch) throws IOException {
    requireOpen();
    if (!(patch instanceof LoadedPatch loaded) || loaded.model() != this) {
      throw new IllegalArgumentException("the patch must have been prepared for this model but was for another");
    }
    loaded.requireOpen();
    Rounding rounding = replace(loaded.patch(), loaded.fitted(), loaded.tensors());
    prepared = loaded;
    return rounding;
  }

  @Override
  public synchronized Rounding apply(Patch patch, MergeOptions options) throws IOException {
    PatchedModel fitted = fitted(patch, options);
    List<TensorChange> tensors = weights.slots().stream()
        .filter(slot -> slot.info.elements() > 0 && fitted.changes(slot.info.name()))
        .map(slot -> TensorChange.streamed(this, fitted, slot))
        .toList();
    return replace(patch, fitted, tensors);
  }

  private Rounding replace(Patch patch, PatchedModel fitted, List<? extends TensorChange> tensors) throws IOException {
    Streams streams = weights.streams();
    weights.keepOriginals(tensors);
    restore(tensors);
    try {
      DeviceStream first = streams.next();
      first.clear(counts, Math.max(1, (long) COUNTS * tensors.size()));
      first.synchronize();
      List<Parallel.Task> tasks = new ArrayList<>();
      long at = counts;
      for (TensorChange tensor : tensors) {
        Slot slot = tensor.slot();
        // Originals can be put back over anything, but bits must be flipped back only once they were flipped.
        slot.isChanged |= tensor.mask() == 0;
        tasks.addAll(tensor.start(streams.next(), slot.original != 0 && tensor.writesAll() ? slot.original : slot.address, at));
        slot.isChanged = true;
        slot.mask = tensor.mask();
        at += COUNTS;
      }
      DeviceWeights.run(tasks);
      streams.synchronize();
      Rounding total = total(tensors, fitted);
      active = Optional.of(patch);
      return total;
    } catch (Throwable e) {
      takeOff(e);
      throw e;
    }
  }

  /** Takes off what failed half-way; what else fails then is attached. */
  private void takeOff(Throwable e) {
    try {
      weights.streams().synchronize();
      undo();
    } catch (IOException | RuntimeException more) {
      e.addSuppressed(more);
    }
  }

  private Rounding total(List<? extends TensorChange> tensors, PatchedModel fitted) throws IOException {
    List<Rounding> merged = new ArrayList<>();
    lanes().use(lane -> {
      ByteBuffer host = lane.host(COUNTS * tensors.size());
      lane.stream().download(counts, host);
      lane.stream().synchronize();
      for (int i = 0; i < tensors.size(); i++) {
        merged.add(CudaMerger.rounding(host, COUNTS * i));
      }
    });
    Rounding total = Rounding.NONE;
    for (int i = 0; i < tensors.size(); i++) {
      TensorInfo info = tensors.get(i).slot().info;
      fitted.requireAllowed(info, 0, info.elements(), merged.get(i));
      total = total.plus(merged.get(i)).plus(tensors.get(i).computed());
    }
    return total;
  }

  /** Takes off the patch that is on the model, but not where {@code next} will write all weights from their originals. */
  private void restore(List<? extends TensorChange> next) throws IOException {
    changes++;
    active = Optional.empty();
    weights.restore(next);
    LoadedPatch before = prepared;
    prepared = null;
    if (before != null && before.isClosed()) {
      before.free();
    }
  }

  /** Frees a patch that was closed, now or when it is taken off. */
  void freeUnlessOn(LoadedPatch patch) {
    if (patch != prepared || closed) {
      patch.free();
    }
  }

  @Override
  public synchronized void undo() throws IOException {
    requireOpen();
    restore(List.of());
  }

  @Override
  public synchronized Optional<Patch> active() {
    return active;
  }

  @Override
  public synchronized ModelVersion current() {
    requireOpen();
    return new CurrentModel(this, changes);
  }

  /** Reads bytes of a tensor as it is. */
  synchronized void read(int since, TensorInfo tensor, long offset, ByteBuffer destination) throws IOException {
    requireOpen();
    if (since != changes) {
      throw new IllegalStateException("another patch was applied or taken off since");
    }
    Slot slot = weights.slot(tensor.name());
    if (slot == null || !slot.info.equals(tensor) || offset < 0 || destination.remaining() > tensor.bytes() - offset) {
      throw new IllegalArgumentException(
          destination.remaining() + " bytes from byte " + offset + " do not lie within tensor " + Names.quote(tensor.name()));
    }
    weights.read(slot, offset, destination);
  }

  @Override
  public synchronized OptionalLong address(String tensor) {
    requireOpen();
    Slot slot = weights.slot(tensor);
    return slot == null ? OptionalLong.empty() : OptionalLong.of(slot.address);
  }

  @Override
  public synchronized long deviceBytes() {
    return weights.bytes();
  }

  void requireOpen() {
    if (closed) {
      throw new IllegalStateException(Names.quote(source.name()) + " in device memory was closed");
    }
  }

  @Override
  public synchronized void close() {
    if (closed) {
      return;
    }
    closed = true;
    if (prepared != null && prepared.isClosed()) {
      prepared.free();
    }
    weights.close();
    if (counts != 0) {
      device.free(counts);
    }
  }
}
