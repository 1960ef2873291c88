package io.portllm.internal.cuda;

import io.portllm.ModelVersion;
import io.portllm.TensorInfo;
import io.portllm.cuda.Originals;
import io.portllm.internal.run.Parallel;
import io.portllm.internal.text.Names;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** The tensors of a model in device memory, and the way back to what they were. Guarded by the model. */
final class DeviceWeights implements AutoCloseable {
  /** Bytes that one thread copies at a time. */
  private static final int COPY_BYTES = 16 << 20;
  /** What the kernels need of the addresses of weights. */
  private static final int ALIGNMENT = 16;
  /** Threads that read and copy at once; copies and kernels of one overlap the reading of others. */
  private static final int THREADS = Math.min(8, Runtime.getRuntime().availableProcessors());

  private final Device device;
  private final ModelVersion source;
  private final Originals originals;
  private final Map<String, Slot> slots = new LinkedHashMap<>();
  private final Lanes lanes;
  private final Streams streams;
  private long address;
  private long bytes;

  DeviceWeights(Device device, ModelVersion source, Originals originals) {
    this.device = device;
    this.source = source;
    this.originals = originals;
    this.lanes = new Lanes(device);
    this.streams = new Streams(device);
  }

  /** Copies the model. */
  void load() throws IOException {
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
    address = device.allocate(bytes);
    long at = 0;
    for (TensorInfo tensor : source.tensors()) {
      at = Area.align(at);
      slots.put(tensor.name(), new Slot(tensor, address + at));
      at += tensor.bytes();
    }
    List<Parallel.Task> tasks = new ArrayList<>();
    slots.values().forEach(slot -> tasks.addAll(uploads(slot)));
    run(tasks);
  }

  /** Bytes that are copied at a time: whole elements or blocks. */
  private static int copyStep(TensorInfo tensor) {
    return COPY_BYTES / tensor.dtype().blockBytes() * tensor.dtype().blockBytes();
  }

  /** Takes the model as it lies in memory of someone else's. */
  void adopt(Map<String, Long> addresses) {
    for (TensorInfo tensor : source.tensors()) {
      Long at = addresses.get(tensor.name());
      if (at == null || at == 0 && tensor.bytes() > 0 || at % ALIGNMENT != 0) {
        throw new IllegalArgumentException(
            "tensor " + Names.quote(tensor.name()) + ": the address must be a multiple of " + ALIGNMENT + " but was "
                + (at == null ? "not given" : "0x" + Long.toHexString(at)));
      }
      slots.put(tensor.name(), new Slot(tensor, at));
    }
  }

  /** Copies of a tensor from the source. */
  private List<Parallel.Task> uploads(Slot slot) {
    return pieces(slot, (from, length) -> lanes.use(lane -> {
      ByteBuffer host = lane.host(length);
      source.read(slot.info, from, host);
      lane.stream().upload(host.flip(), slot.address + from);
    }));
  }

  /** Does tasks on a few threads. */
  static void run(List<? extends Parallel.Task> tasks) throws IOException {
    if (!tasks.isEmpty()) {
      Parallel.run(THREADS, () -> false, tasks);
    }
  }

  /** What is done with a part of a tensor. */
  interface Piece {
    void run(long from, int length) throws IOException;
  }

  /** Tasks for the parts of a tensor. */
  static List<Parallel.Task> pieces(Slot slot, Piece piece) {
    List<Parallel.Task> tasks = new ArrayList<>();
    int step = copyStep(slot.info);
    for (long offset = 0; offset < slot.info.bytes(); offset += step) {
      long from = offset;
      int length = (int) Math.min(step, slot.info.bytes() - offset);
      tasks.add(() -> piece.run(from, length));
    }
    return tasks;
  }

  Lanes lanes() {
    return lanes;
  }

  Streams streams() {
    return streams;
  }

  /** The tensor of this name, or null. */
  Slot slot(String tensor) {
    return slots.get(tensor);
  }

  /** All tensors, in their order. */
  Collection<Slot> slots() {
    return slots.values();
  }

  /** Bytes of device memory, with the originals that are kept. */
  long bytes() {
    return bytes;
  }

  /** Copies the tensors that are merged for the first time. */
  void keepOriginals(List<? extends TensorChange> tensors) {
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
  void restore(List<? extends TensorChange> next) throws IOException {
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
  }

  /** Copies bytes of a tensor from the device. */
  void read(Slot slot, long offset, ByteBuffer destination) throws IOException {
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
  public void close() {
    lanes.close();
    streams.close();
    for (Slot slot : slots.values()) {
      if (slot.original != 0) {
        device.free(slot.original);
      }
    }
    if (address != 0) {
      device.free(address);
    }
  }
}
