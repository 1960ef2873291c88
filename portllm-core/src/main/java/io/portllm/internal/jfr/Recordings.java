package io.portllm.internal.jfr;

import jdk.jfr.FlightRecorder;

/** Whether anybody records. */
final class Recordings {
  private static final boolean PRESENT = ModuleLayer.boot().findModule("jdk.jfr").isPresent();

  private Recordings() {}

  /** Whether Flight Recorder was started in this JVM. Asked first, since to load an event's class would start it. */
  static boolean running() {
    return PRESENT && FlightRecorder.isInitialized();
  }
}
