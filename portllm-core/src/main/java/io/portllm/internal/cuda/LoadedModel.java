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
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;

/** A model in device memory. */
public final class LoadedModel implements ResidentModel {
  /** Bytes that one thread copies at a time. */
  private static final int COPY_BYTES = 16 << 20;
  /** Threads that read and copy at once; copies and kernels of one overlap the reading of others. */
  private static final int THREADS = Math.min(8, Runtime.getRuntime().availableProcessors());

  private final Device device;
  private final ModelVersion source;
  private final Originals originals;
  private final Map<String, Slot> slots = new LinkedHashMap<>();
  private final Lanes lanes;
  private final Streams streams;
  private long weights;
  /** What the kernels count, {@link #COUNTS} bytes for each tensor. */
  private long counts;
  private long bytes;
  /** Room for the operands of a run; elements have up to 8 bytes. */
  private final DirectBuffers room = new DirectBuffers(8 * TensorChange.RUN);
  private Optional<Patch> active = Optional.empty();
  private LoadedPatch prepared;
  private int changes;
  private boolean closed;

  /** A tensor in device memory. */
  static final class Slot {
    final TensorInfo info;
    final long address;
    /** A copy of the tensor as it was loaded; 0 if there is none. */
    private long original;
    /** Whether a patch changed it. */
    private boolean isChanged;
    /** The bits that the patch flipped; 0 if it did not flip but merge. */
    private long mask;

    private Slot(TensorInfo info, long address) {
      this.info = info;
      this.address = address;
    }
  }

  /** Bytes of what the kernels count for one tensor. */
  private static final int COUNTS = 32;

  private LoadedModel(Device device, ModelVersion source, Originals originals) {
    this.device = device;
    this.source = source;
    this.originals = originals;
    this.lanes = new Lanes(device);
    this.streams = new Streams(device);
  }

  /** Copies {@code source} to {@code device}. */
  public static LoadedModel load(Device device, ModelVersion source, Originals originals) throws IOException {
    LoadedModel model = new LoadedModel(device, source, originals);
    try {
      model.load();
    } catch (Throwable e) {
      model.close();
      throw e;
    }
    return model;
  }

  private void load() throws IOException {
    long end = 0;
    for (TensorInfo tensor : source.tensors()) {
      end = Math.addExact(Area.align(end), tensor.bytes());
    }
    bytes = Math.max(1, end);
    long free = device.freeBytes();
    if (bytes > free) {
      throw new IllegalStateException(
          Names.quote(source.name()) + " needs " + bytes + " bytes of memory on " + device.name() + ", which has " + free + " free of "
              + device.totalBytes());
    }
    weights = device.allocate(bytes);
    counts = device.allocate(Math.max(1, (long) COUNTS * source.tensors().size()));
    long at = 0;
    for (TensorInfo tensor : source.tensors()) {
      at = Area.align(at);
      slots.put(tensor.name(), new Slot(tensor, weights + at));
      at += tensor.bytes();
    }
    List<Parallel.Task> tasks = new ArrayList<>();
    slots.values().forEach(slot -> tasks.addAll(uploads(slot)));
    run(tasks);
  }

  /** Bytes that are copied at a time: whole elements or blocks. */
  static int copyStep(TensorInfo tensor) {
    return COPY_BYTES / tensor.dtype().blockBytes() * tensor.dtype().blockBytes();
  }

  /** Copies of a tensor from the source. */
  private List<Parallel.Task> uploads(Slot slot) {
    List<Parallel.Task> tasks = new ArrayList<>();
    int step = copyStep(slot.info);
    for (long offset = 0; offset < slot.info.bytes(); offset += step) {
      long from = offset;
      int length = (int) Math.min(step, slot.info.bytes() - offset);
      tasks.add(() -> lanes.use(lane -> {
        ByteBuffer host = lane.host(length);
        source.read(slot.info, from, host);
        lane.stream().upload(host.flip(), slot.address + from);
      }));
    }
    return tasks;
  }

  static void run(List<? extends Parallel.Task> tasks) throws IOException {
    if (!tasks.isEmpty()) {
      Parallel.run(THREADS, () -> false, tasks);
    }
  }

  Device device() {
    return device;
  }

  Lanes lanes() {
    return lanes;
  }

  DirectBuffers room() {
    return room;
  }

  Slot slot(String tensor) {
    return slots.get(tensor);
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

  private PatchedModel fitted(Patch patch, MergeOptions options) {
    requireOpen();
    PatchedModel fitted = PatchedModel.of(patch, source, options);
    List<Mismatch> mismatches = new ArrayList<>();
    for (TensorInfo tensor : fitted.tensors()) {
      Slot slot = slots.get(tensor.name());
      if (slot == null || !slot.info.equals(tensor)) {
        mismatches.add(Mismatch.of(tensor.name(), "is added or changes its type or shape, which no loaded model can"));
      }
    }
    for (String name : slots.keySet()) {
      if (fitted.find(name).isEmpty()) {
        mismatches.add(Mismatch.of(name, "is removed, which no loaded model can"));
      }
    }
    if (!mismatches.isEmpty()) {
      throw new IncompatibleModelException("the patch " + Names.quote(patch.recipe()) + " does not fit a loaded model", mismatches);
    }
    return fitted;
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
    List<TensorChange> tensors = slots.values().stream()
        .filter(slot -> slot.info.elements() > 0 && fitted.change(slot.info.name()).isPresent())
        .map(slot -> TensorChange.streamed(this, fitted, slot))
        .toList();
    return replace(patch, fitted, tensors);
  }

  private Rounding replace(Patch patch, PatchedModel fitted, List<? extends TensorChange> tensors) throws IOException {
    keepOriginals(tensors);
    restore(tensors);
    try {
      DeviceStream first = streams.next();
      first.clear(counts, Math.max(1, (long) COUNTS * tensors.size()));
      first.synchronize();
      List<Parallel.Task> tasks = new ArrayList<>();
      long at = counts;
      for (TensorChange tensor : tensors) {
        Slot slot = tensor.slot();
        slot.isChanged = true;
        slot.mask = tensor.mask();
        tasks.addAll(tensor.start(streams.next(), slot.original != 0 && tensor.writesAll() ? slot.original : slot.address, at));
        at += COUNTS;
      }
      run(tasks);
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
      streams.synchronize();
      undo();
    } catch (IOException | RuntimeException more) {
      e.addSuppressed(more);
    }
  }

  private Rounding total(List<? extends TensorChange> tensors, PatchedModel fitted) throws IOException {
    List<Rounding> merged = new ArrayList<>();
    lanes.use(lane -> {
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

  /** Copies the tensors that are merged for the first time. */
  private void keepOriginals(List<? extends TensorChange> tensors) {
    if (originals == Originals.READ_AGAIN) {
      return;
    }
    try {
      for (TensorChange tensor : tensors) {
        Slot slot = tensor.slot();
        if (slot.original == 0 && tensor.mask() == 0) {
          slot.original = device.allocate(slot.info.bytes());
          bytes += slot.info.bytes();
          DeviceStream stream = streams.next();
          stream.copy(slot.address, slot.original, slot.info.bytes());
          if (slot.isChanged && slot.mask != 0) {
            // The patch that is on it did not merge but flip bits.
            stream.flip(slot.original, slot.mask, slot.info.bytes());
          }
        }
      }
    } finally {
      streams.synchronize();
    }
  }

  /** Takes off the patch that is on the model, but not where {@code next} will write all weights from their originals. */
  private void restore(List<? extends TensorChange> next) throws IOException {
    changes++;
    active = Optional.empty();
    Set<Slot> written = new HashSet<>();
    next.stream().filter(TensorChange::writesAll).map(TensorChange::slot).filter(slot -> slot.original != 0).forEach(written::add);
    List<Slot> restored = slots.values().stream().filter(slot -> slot.isChanged && !written.contains(slot)).toList();
    List<Parallel.Task> uploads = new ArrayList<>();
    try {
      for (Slot slot : restored) {
        if (slot.mask != 0) {
          streams.next().flip(slot.address, slot.mask, slot.info.bytes());
          slot.mask = 0;
          slot.isChanged = false;
        } else if (slot.original != 0) {
          streams.next().copy(slot.original, slot.address, slot.info.bytes());
        } else {
          uploads.addAll(uploads(slot));
        }
      }
      run(uploads);
    } finally {
      streams.synchronize();
    }
    restored.forEach(slot -> slot.isChanged = false);
    written.forEach(slot -> slot.mask = 0);
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
    Slot slot = slots.get(tensor.name());
    if (slot == null || !slot.info.equals(tensor) || offset < 0 || destination.remaining() > tensor.bytes() - offset) {
      throw new IllegalArgumentException(
          destination.remaining() + " bytes from byte " + offset + " do not lie within tensor " + Names.quote(tensor.name()));
    }
    lanes.use(lane -> {
      for (long at = offset; destination.hasRemaining(); ) {
        ByteBuffer host = lane.host(Math.min(COPY_BYTES, destination.remaining()));
        lane.stream().download(slot.address + at, host);
        lane.stream().synchronize();
        at += host.remaining();
        destination.put(host);
      }
    });
  }

  @Override
  public synchronized OptionalLong address(String tensor) {
    requireOpen();
    Slot slot = slots.get(tensor);
    return slot == null ? OptionalLong.empty() : OptionalLong.of(slot.address);
  }

  @Override
  public synchronized long deviceBytes() {
    return bytes;
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
    lanes.close();
    streams.close();
    if (counts != 0) {
      device.free(counts);
    }
    for (Slot slot : slots.values()) {
      if (slot.original != 0) {
        device.free(slot.original);
      }
    }
    if (weights != 0) {
      device.free(weights);
    }
  }
}
