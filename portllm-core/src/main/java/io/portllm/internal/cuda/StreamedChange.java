package io.portllm.internal.cuda;

import io.portllm.internal.patch.PatchedModel;
import io.portllm.internal.run.Parallel.Task;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.util.List;

/** A change whose values are brought to the device run by run while others are merged. */
final class StreamedChange extends TensorChange {
  StreamedChange(LoadedModel model, PatchedModel fitted, Slot slot) {
    super(model, fitted, slot);
  }

  @Override
  boolean writesAll() {
    return !isMerged();
  }

  @Override
  List<Task> start(DeviceStream stream, long source, long counts) {
    if (!isMerged()) {
      return compute((lane, at, bytes) -> lane.stream().upload(bytes, slot.address + at));
    }
    return runs(model.room(), (first, count, launch) -> merge(first, launch, counts));
  }

  private void merge(long first, Launch launch, long counts) {
    try {
      model.lanes().use(lane -> {
        ByteBuffer host = lane.host(launch.bytes());
        long area = lane.memory(launch.bytes());
        launch.write(host, 0);
        lane.stream().upload(host, area);
        long weights = slot.address + first * slot.info.dtype().bytes();
        launch.starter().start(lane.stream(), weights, weights, area, counts);
      });
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
