package io.portllm.io.internal.write;

import io.portllm.ProgressListener;

/** Adds up what many threads have done and tells a listener, one call at a time. */
final class Progress {
  private final ProgressListener listener;
  private final long total;
  private long done;

  Progress(ProgressListener listener, long total) {
    this.listener = listener;
    this.total = total;
    listener.started(total);
  }

  synchronized void add(long bytes) {
    done += bytes;
    listener.progressed(done, total);
  }
}
