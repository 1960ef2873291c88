package io.portllm.io.internal.files;

import io.portllm.internal.jfr.Stage;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.FileChannel;
import java.nio.channels.SeekableByteChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileTime;
import java.util.Objects;

/**
 * A file that is read by position and watched for change. Opened for reading only and never mapped, so that a file cut by another
 * process gives an exception and not a fault.
 *
 * <p>Safe for use by many threads. Interrupting a thread closes the channel it reads from; other threads that use the channel then
 * reopen the file, after checking that it is the same.
 */
public final class SourceFile implements AutoCloseable {
  /**
   * The most bytes of one read: 1 MiB. A read into a heap buffer goes through a direct buffer of the same size, which the JDK
   * keeps for the thread.
   */
  private static final int LARGEST_READ = 1 << 20;

  private final SourceFiles files;
  private final Path path;
  private final long size;
  private final Object key;
  private final FileTime modified;

  SourceFile(SourceFiles files, Path path, BasicFileAttributes attributes) {
    this.files = files;
    this.path = path;
    this.size = attributes.size();
    this.key = attributes.fileKey();
    this.modified = attributes.lastModifiedTime();
  }

  /** Opens a file by itself; the caller closes it. */
  public static SourceFile open(Path path) throws IOException {
    return new SourceFiles().open(path);
  }

  /** Where the file is. */
  public Path path() {
    return path;
  }

  /** Its size in bytes when it was opened. */
  public long size() {
    return size;
  }

  /**
   * Reads until {@code destination} is full.
   *
   * @param position the first byte, counted from the start of the file
   * @param destination filled from its position to its limit; after an exception its position is undefined
   * @throws IllegalArgumentException if the range does not lie within the file
   * @throws IllegalStateException if this was closed
   * @throws InterruptedIOException if the calling thread was interrupted; its flag stays set
   * @throws IOException if reading failed, or the file is not what was opened
   */
  public void readFully(long position, ByteBuffer destination) throws IOException {
    if (position < 0 || position > size - destination.remaining()) {
      throw new IllegalArgumentException(
          destination.remaining() + " bytes from " + position + " do not lie within the " + size + " bytes of " + path);
    }
    int start = destination.position();
    int end = destination.limit();
    while (true) {
      if (Thread.currentThread().isInterrupted()) {
        // Reading now would close the channel that other threads use.
        throw interrupted();
      }
      SourceFiles.Handle handle = files.acquire(this);
      try {
        Stage stage = Stage.read(path, position, destination.remaining());
        read(handle, position, destination);
        stage.done();
        return;
      } catch (ClosedChannelException e) {
        // Closed by an interrupt of this thread, of another thread, or by the owner; the next round tells which.
        destination.limit(end).position(start);
      } finally {
        files.release(this, handle);
      }
    }
  }

  private void read(SourceFiles.Handle handle, long position, ByteBuffer destination) throws IOException {
    int start = destination.position();
    int end = destination.limit();
    while (destination.position() < end) {
      destination.limit(Math.min(end, destination.position() + Math.min(LARGEST_READ, end - destination.position())));
      long from = position + (destination.position() - start);
      int count = handle.read(destination, from);
      if (count < 0) {
        throw new FileChangedException(
            path, "the file changed since it was opened: it had " + size + " bytes and ends before byte " + from + " now");
      }
      destination.limit(end);
    }
  }

  InterruptedIOException interrupted() {
    return new InterruptedIOException(Paths.prefix(path) + "reading was interrupted");
  }

  /**
   * Checks that the path still leads to the file that was opened, with the size and time it had.
   *
   * @throws IOException naming the file if it does not
   */
  public void verifyUnchanged() throws IOException {
    BasicFileAttributes now;
    try {
      now = Paths.regularFile(path);
    } catch (IOException e) {
      FileChangedException gone = new FileChangedException(path, "the file is gone since it was opened");
      gone.initCause(e);
      throw gone;
    }
    String what = null;
    if (now.size() != size) {
      what = "it had " + size + " bytes and has " + now.size() + " now";
    } else if (!Objects.equals(now.fileKey(), key)) {
      what = "another file is in its place";
    } else if (!now.lastModifiedTime().equals(modified)) {
      what = "it was written at " + now.lastModifiedTime();
    }
    if (what != null) {
      throw new FileChangedException(path, "the file changed since it was opened: " + what);
    }
  }

  /** Opens a channel on the file, which must be the one that was opened first. */
  SeekableByteChannel openChannel() throws IOException {
    verifyUnchanged();
    SeekableByteChannel channel = newChannel();
    try {
      // The path may have been given to another file between the check and the opening.
      verifyUnchanged();
      return channel;
    } catch (Throwable e) {
      channel.close();
      throw e;
    }
  }

  /** Opens a channel that many threads read by position at once; where the file system has none, one that is placed. */
  private SeekableByteChannel newChannel() throws IOException {
    try {
      return FileChannel.open(path, StandardOpenOption.READ);
    } catch (UnsupportedOperationException e) {
      return openPlaced();
    }
  }

  private SeekableByteChannel openPlaced() throws IOException {
    try {
      return Files.newByteChannel(path, StandardOpenOption.READ);
    } catch (UnsupportedOperationException e) {
      throw new IOException(Paths.prefix(path) + "its file system cannot read by position", e);
    }
  }

  /** Closes this file's handle. May be called more than once. */
  @Override
  public void close() throws IOException {
    files.close(this);
  }

  @Override
  public String toString() {
    return path.toString();
  }
}
