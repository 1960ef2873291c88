package io.portllm.io.internal.files;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.SeekableByteChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/**
 * The files of one model. At most {@link #MOST_HANDLES} are held open at once: the handle used longest ago is closed when another
 * file is needed, and a file is reopened when it is read again.
 *
 * <p>Safe for use by many threads.
 */
public final class SourceFiles implements AutoCloseable {
  /** The most handles held at once: 32, so that several models of a thousand shards fit the usual limit of 256 or 1024. */
  public static final int MOST_HANDLES = 32;

  /** An open channel and the number of threads that read from it. */
  static final class Handle {
    private final SeekableByteChannel channel;
    private int users;

    Handle(SeekableByteChannel channel) {
      this.channel = channel;
    }

    SeekableByteChannel channel() {
      return channel;
    }

    /** Reads some bytes, at least one unless the file ends before them. Other channels than files' have one place: one reader at a time. */
    int read(ByteBuffer destination, long position) throws IOException {
      if (channel instanceof FileChannel file) {
        return file.read(destination, position);
      }
      synchronized (channel) {
        return channel.position(position).read(destination);
      }
    }
  }

  private final ReentrantLock lock = new ReentrantLock();
  private final Condition idle = lock.newCondition();
  private final Map<SourceFile, Handle> handles = new LinkedHashMap<>(MOST_HANDLES, 0.75f, true);
  private final Set<SourceFile> files = new HashSet<>();
  private boolean closed;

  /**
   * Opens a file.
   *
   * @return the file; closed with this, or by the caller before
   * @throws IOException if there is no such file, it is no regular file, or it cannot be read
   */
  public SourceFile open(Path path) throws IOException {
    SourceFile file = new SourceFile(this, path, Paths.regularFile(path));
    lock.lock();
    try {
      if (closed) {
        throw new IllegalStateException(path + " was asked for after its model was closed");
      }
      files.add(file);
    } finally {
      lock.unlock();
    }
    try {
      release(file, acquire(file));
      return file;
    } catch (Throwable e) {
      file.close();
      throw e;
    }
  }

  /** A handle that stays open until it is {@link #release released}, unless an interrupt or the owner closes it. */
  Handle acquire(SourceFile file) throws IOException {
    Handle handle = null;
    lock.lock();
    try {
      while (true) {
        if (!files.contains(file)) {
          throw new IllegalStateException(file + " was closed");
        }
        handle = handles.get(file);
        if (handle != null && !handle.channel.isOpen()) {
          handles.remove(file);
          handle = null;
        }
        if (handle == null && makeRoom()) {
          handle = new Handle(file.openChannel());
          handles.put(file, handle);
        }
        if (handle != null) {
          handle.users++;
          return handle;
        }
        awaitIdle(file);
      }
    } finally {
      if (handle == null) {
        // This thread goes without a handle: a signal that it took may be another's.
        idle.signal();
      }
      lock.unlock();
    }
  }

  void release(SourceFile file, Handle handle) {
    lock.lock();
    try {
      handle.users--;
      if (!handle.channel.isOpen()) {
        handles.remove(file, handle);
      }
      idle.signal();
    } finally {
      lock.unlock();
    }
  }

  private boolean makeRoom() throws IOException {
    if (handles.size() < MOST_HANDLES) {
      return true;
    }
    for (Iterator<Handle> oldest = handles.values().iterator(); oldest.hasNext(); ) {
      Handle handle = oldest.next();
      if (handle.users == 0) {
        oldest.remove();
        handle.channel.close();
        return true;
      }
    }
    return false;
  }

  private void awaitIdle(SourceFile file) throws IOException {
    try {
      idle.await();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw file.interrupted();
    }
  }

  void close(SourceFile file) throws IOException {
    Handle handle;
    lock.lock();
    try {
      files.remove(file);
      handle = handles.remove(file);
      idle.signalAll();
    } finally {
      lock.unlock();
    }
    if (handle != null) {
      handle.channel.close();
    }
  }

  /** Closes all files. Threads that still read get an {@link IllegalStateException}. May be called more than once. */
  @Override
  public void close() throws IOException {
    List<SourceFile> all;
    lock.lock();
    try {
      closed = true;
      all = new ArrayList<>(files);
    } finally {
      lock.unlock();
    }
    IOException first = null;
    for (SourceFile file : all) {
      try {
        close(file);
      } catch (IOException e) {
        if (first == null) {
          first = e;
        } else {
          first.addSuppressed(e);
        }
      }
    }
    if (first != null) {
      throw first;
    }
  }
}
