package io.portllm.cli;

import io.portllm.ProgressListener;
import java.io.PrintStream;
import java.util.Locale;

/** One line on a terminal that says how far the work is; nothing where the output is piped. */
final class ProgressLine implements ProgressListener, AutoCloseable {
  private static final long INTERVAL_NANOS = 200_000_000;

  private final String what;
  private final PrintStream terminal = System.err;
  private final boolean enabled = Terminal.isAttached();
  private long started;
  private long shown;
  private int width;

  ProgressLine(String what) {
    this.what = what;
  }

  @Override
  public void started(long totalBytes) {
    started = System.nanoTime();
  }

  @Override
  public void progressed(long doneBytes, long totalBytes) {
    long now = System.nanoTime();
    if (!enabled || now - shown < INTERVAL_NANOS && doneBytes < totalBytes) {
      return;
    }
    shown = now;
    double seconds = (now - started) / 1e9;
    double megabytesPerSecond = doneBytes / 1e6 / Math.max(seconds, 1e-3);
    String line =
        String.format(Locale.ROOT, "%s %3d %%  %s of %s  %.0f MB/s", what, totalBytes == 0 ? 100 : 100 * doneBytes / totalBytes,
            Reports.size(doneBytes), Reports.size(totalBytes), megabytesPerSecond);
    terminal.print("\r" + line + " ".repeat(Math.max(0, width - line.length())));
    terminal.flush();
    width = line.length();
  }

  /** Wipes the line. */
  @Override
  public void close() {
    if (width > 0) {
      terminal.print("\r" + " ".repeat(width) + "\r");
      terminal.flush();
      width = 0;
    }
  }
}
