package io.portllm.spark.internal.job;

import java.io.Closeable;
import java.io.IOException;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/**
 * What tasks of one process have open: opening a model reads the headers of all its files, and the next task mostly needs the same ones.
 * Those that no task uses are closed when there are more than {@link #MOST_IDLE}, or after a minute.
 *
 * <p>Safe for use by many threads.
 */
final class ModelCache {
  /** The most that stay open unused: 6, so that the base, the new base and a few patches do. */
  static final int MOST_IDLE = 6;

  private static final int IDLE_SECONDS = 60;

  /** The cache of this process. */
  static final ModelCache SHARED = new ModelCache();

  /** Opens something. */
  interface Opener<T> {
    T open() throws IOException;
  }

  /** What a job opened at a place. */
  private record Key(String run, Class<?> type, String location) {}

  private static final class Entry {
    private AutoCloseable opened;
    private int users;
    private long released;
  }

  /** The right to use something that is open. */
  final class Lease<T> implements Closeable {
    private final Entry entry;
    private final T opened;
    private boolean closed;

    private Lease(Entry entry, T opened) {
      this.entry = entry;
      this.opened = opened;
    }

    T get() {
      return opened;
    }

    @Override
    public void close() {
      if (!closed) {
        closed = true;
        release(entry);
      }
    }
  }

  private final Map<Key, Entry> entries = new LinkedHashMap<>();

  /**
   * Something that is open, or is opened now.
   *
   * @param run the job, because what lies at a place may have changed since the last one
   */
  <T extends AutoCloseable> Lease<T> lease(String run, Class<T> type, String location, Opener<T> opener) throws IOException {
    Key key = new Key(run, type, location);
    Entry entry;
    synchronized (this) {
      entry = entries.remove(key);
      if (entry == null) {
        entry = new Entry();
      }
      // Put back at the end: the first entry is the one used longest ago.
      entries.put(key, entry);
      entry.users++;
    }
    try {
      synchronized (entry) {
        if (entry.opened == null) {
          entry.opened = opener.open();
        }
        return new Lease<>(entry, type.cast(entry.opened));
      }
    } catch (IOException | RuntimeException e) {
      release(entry);
      throw e;
    }
  }

  private synchronized void release(Entry entry) {
    entry.users--;
    entry.released = System.nanoTime();
    long idle = entries.values().stream().filter(other -> other.users == 0).count();
    closeIdle(idle - MOST_IDLE, Long.MAX_VALUE);
    CompletableFuture.delayedExecutor(IDLE_SECONDS, TimeUnit.SECONDS).execute(this::closeOld);
  }

  private synchronized void closeOld() {
    closeIdle(Integer.MAX_VALUE, System.nanoTime() - TimeUnit.SECONDS.toNanos(IDLE_SECONDS));
  }

  private void closeIdle(long most, long releasedBefore) {
    long left = most;
    for (Iterator<Entry> oldest = entries.values().iterator(); oldest.hasNext() && left > 0; ) {
      Entry entry = oldest.next();
      if (entry.users == 0 && (releasedBefore == Long.MAX_VALUE || entry.released - releasedBefore <= 0)) {
        oldest.remove();
        left--;
        close(entry);
      }
    }
  }

  private static void close(Entry entry) {
    if (entry.opened != null) {
      try {
        entry.opened.close();
      } catch (Exception e) {
        System.getLogger(ModelCache.class.getName()).log(System.Logger.Level.WARNING, "closing " + entry.opened, e);
      }
    }
  }

  /** How many are open or being opened. */
  synchronized int size() {
    return entries.size();
  }
}
