package io.portllm.io.internal.write;

import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;

/**
 * Everything that writing changes in a file system. All writers go through one, so that tests can put one in its place that fails, stops
 * short, dies or forgets at any operation.
 *
 * <p>Safe for use by many threads.
 */
public interface Disk {
  /** The file systems of the JVM. */
  Disk REAL = new RealDisk();

  /** A file that is being written. */
  interface Sink extends Closeable {
    /**
     * Writes from the position of {@code bytes} on, perhaps not to its limit.
     *
     * @return how many bytes were written
     */
    int write(ByteBuffer bytes, long position) throws IOException;

    /** Puts all that was written on the disk. */
    void force() throws IOException;
  }

  /** Makes a file, where nothing may be yet, not even a link. */
  Sink create(Path file) throws IOException;

  /** Opens a file to be locked, and makes it if it is not there; a link is refused. */
  FileChannel openLock(Path file) throws IOException;

  /** Makes a folder, where nothing may be yet. */
  void createFolder(Path folder) throws IOException;

  /**
   * Renames atomically, replacing a file or an empty folder.
   *
   * @throws java.nio.file.AtomicMoveNotSupportedException if the file system cannot
   */
  void move(Path from, Path to) throws IOException;

  /** Deletes a file, a link or an empty folder, which must be there. */
  void delete(Path path) throws IOException;

  /** Puts the names in a folder on the disk. */
  void forceFolder(Path folder) throws IOException;

  /** The bytes that are left where {@code folder} is. */
  long room(Path folder) throws IOException;

  /** Writes all of {@code bytes}. */
  static void writeFully(Sink sink, ByteBuffer bytes, long position) throws IOException {
    long at = position;
    while (bytes.hasRemaining()) {
      at += sink.write(bytes, at);
    }
  }
}
