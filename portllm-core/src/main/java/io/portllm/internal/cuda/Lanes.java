package io.portllm.internal.cuda;

import java.util.concurrent.ConcurrentLinkedQueue;

/** Lanes, lent and taken back; as many exist as were lent at one time. Safe for use by many threads. */
final class Lanes implements AutoCloseable {
  private final Device device;
  private final ConcurrentLinkedQueue<Lane> free = new ConcurrentLinkedQueue<>();

  Lanes(Device device) {
    this.device = device;
  }

  Lane lend() {
    Lane lane = free.poll();
    return lane != null ? lane : new Lane(device);
  }

  /** Takes back a lane whose work is done. */
  void takeBack(Lane lane) {
    free.add(lane);
  }

  /** Frees the lanes that are not lent. */
  @Override
  public void close() {
    for (Lane lane = free.poll(); lane != null; lane = free.poll()) {
      lane.close();
    }
  }
}
