package io.portllm.internal.cuda;

import java.util.stream.Stream;

/** A few streams that take turns, so that the end of one kernel overlaps the start of the next. Used by one thread at a time. */
final class Streams implements AutoCloseable {
  private static final int COUNT = 4;

  private final DeviceStream[] streams;
  private int turn;

  Streams(Device device) {
    streams = Stream.generate(device::newStream).limit(COUNT).toArray(DeviceStream[]::new);
  }

  /** The stream whose turn it is. */
  DeviceStream next() {
    turn = (turn + 1) % COUNT;
    return streams[turn];
  }

  /** Waits until all is done. */
  void synchronize() {
    for (DeviceStream stream : streams) {
      stream.synchronize();
    }
  }

  @Override
  public void close() {
    for (DeviceStream stream : streams) {
      stream.close();
    }
  }
}
