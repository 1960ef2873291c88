package io.portllm.internal.run;

import io.portllm.ProgressListener;

/** Adds up what many threads have done and tells a listener, one call at a time. */
public final class Progress {
  private final ProgressListener listener;
  private final long total;
  private long done;

  /** Nothing done yet; tells the listener the total. */
  public Progress(ProgressListener listener, long total) {
    this.listener = listener;
    this.total = total;
    listener.started(total);
  }

  /** Adds bytes to what is done. */
  public synchronized void add(long bytes) {
    done += bytes;
    listener.progressed(done, total);
  }
}
