package io.portllm.internal.cuda;

import io.portllm.internal.patch.PatchedModel;
import io.portllm.internal.run.Parallel.Task;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/**
 * A change whose values lie in device memory. Where the processor computed the weights, these are the bits in which they differ from those
 * of the model: flipping them once applies the change, and again takes it back.
 */
final class PreparedChange extends TensorChange {
  private final List<Run> runs = Collections.synchronizedList(new ArrayList<>());
  private long mask;
  private long bytes;

  private record Run(long first, int written, Launch.Starter starter, long area) {}

  PreparedChange(LoadedModel model, PatchedModel fitted, Slot slot) {
    super(model, fitted, slot);
  }

  /** Brings the values to the device. */
  List<Task> prepare() {
    if (!isMerged()) {
      bytes = slot.info.bytes();
      mask = model.device().allocate(bytes);
      return compute(this::uploadMask);
    }
    return runs(model.room(), this::prepare);
  }

  private void uploadMask(Lane lane, long at, ByteBuffer host) throws IOException {
    ByteBuffer before = ByteBuffer.allocate(host.remaining()).order(ByteOrder.LITTLE_ENDIAN);
    model.source().read(slot.info, at, before);
    for (int i = 0; i < before.capacity(); i++) {
      host.put(i, (byte) (host.get(i) ^ before.get(i)));
    }
    lane.stream().upload(host, mask + at);
  }

  private void prepare(long first, int count, Launch launch) {
    long area = allocate(launch.bytes());
    runs.add(new Run(first, launch.writesAll() ? count : 0, launch.starter(), area));
    try {
      model.lanes().use(lane -> {
        ByteBuffer host = lane.host(launch.bytes());
        launch.write(host, 0);
        lane.stream().upload(host, area);
      });
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private synchronized long allocate(int size) {
    bytes += size;
    return model.device().allocate(size);
  }

  /** Bytes of device memory. */
  synchronized long bytes() {
    return bytes;
  }

  void free() {
    runs.forEach(run -> model.device().free(run.area()));
    runs.clear();
    if (mask != 0) {
      model.device().free(mask);
      mask = 0;
    }
  }

  @Override
  boolean writesAll() {
    return isMerged() && runs.stream().mapToLong(Run::written).sum() == slot.info.elements();
  }

  @Override
  long mask() {
    return mask;
  }

  @Override
  List<Task> start(DeviceStream stream, long source, long counts) {
    if (mask != 0) {
      stream.flip(slot.address, mask, slot.info.bytes());
    }
    for (Run run : runs) {
      long skipped = run.first() * slot.info.dtype().bytes();
      run.starter().start(stream, source + skipped, slot.address + skipped, run.area(), counts);
    }
    return List.of();
  }
}
