package io.portllm.internal.cuda;

import java.io.IOException;
import java.util.concurrent.ConcurrentLinkedQueue;

/** Lanes, as many as are used at one time. Safe for use by many threads. */
final class Lanes implements AutoCloseable {
  private final Device device;
  private final ConcurrentLinkedQueue<Lane> free = new ConcurrentLinkedQueue<>();

  Lanes(Device device) {
    this.device = device;
  }

  /** Work on a lane, which may end before the stream has done what it was told. */
  interface Work {
    void run(Lane lane) throws IOException;
  }

  /** Does work on a lane of the calling thread's own and waits until its stream is done. A lane whose work failed is closed. */
  void use(Work work) throws IOException {
    Lane lane = free.poll();
    if (lane == null) {
      lane = new Lane(device);
    }
    boolean done = false;
    try {
      work.run(lane);
      lane.stream().synchronize();
      done = true;
    } finally {
      if (done) {
        free.add(lane);
      } else {
        lane.close();
      }
    }
  }

  /** Frees the lanes that are not in use. */
  @Override
  public void close() {
    for (Lane lane = free.poll(); lane != null; lane = free.poll()) {
      lane.close();
    }
  }
}
