package io.portllm.io.internal.write;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/** The right to write to a target: a lock on a file beside it, which is deleted in the end. A process that dies loses its lock. */
final class TargetLock implements AutoCloseable {
  private static final SecureRandom RANDOM = new SecureRandom();

  /**
   * The targets of this process. Asked first, because on POSIX systems closing any channel on a file ends all locks that the process
   * has on it: even a refused second try would.
   */
  private static final Set<Path> OURS = ConcurrentHashMap.newKeySet();

  private final Path key;
  private final Path file;
  private final FileChannel channel;
  private final Disk disk;

  private TargetLock(Path key, Path file, FileChannel channel, Disk disk) {
    this.key = key;
    this.file = file;
    this.channel = channel;
    this.disk = disk;
  }

  /**
   * Locks {@code target}, an absolute path in a folder that exists.
   *
   * @throws IOException if another thread or process writes to it
   */
  static TargetLock of(Path target, Disk disk) throws IOException {
    Path key = target.getParent().toRealPath().resolve(target.getFileName());
    Path file = target.resolveSibling("." + target.getFileName() + ".portllm.lock");
    if (!OURS.add(key)) {
      throw new IOException("[" + target + "] is being written by another thread");
    }
    try {
      return new TargetLock(key, file, lock(target, file, disk), disk);
    } catch (Throwable e) {
      OURS.remove(key);
      throw e;
    }
  }

  private static FileChannel lock(Path target, Path file, Disk disk) throws IOException {
    while (true) {
      FileChannel channel = open(target, file, disk);
      try {
        if (channel.tryLock() == null) {
          throw new IOException("[" + target + "] is being written by another process");
        }
        if (isAt(file, channel)) {
          return channel;
        }
      } catch (OverlappingFileLockException e) {
        channel.close();
        throw new IOException("[" + target + "] is being written by another thread", e);
      } catch (Throwable e) {
        channel.close();
        throw e;
      }
      channel.close();
    }
  }

  private static FileChannel open(Path target, Path file, Disk disk) throws IOException {
    try {
      return disk.openLock(file);
    } catch (IllegalArgumentException | UnsupportedOperationException e) {
      throw new IOException("[" + target
          + "] lies in an archive or on another file system on which outputs cannot be made whole or not at all", e);
    }
  }

  /**
   * Whether {@code channel} is still the file at this path, which its owner may have deleted before the lock was had. Java does not
   * tell which file a channel has open, so the file gets a length of its own.
   */
  private static boolean isAt(Path file, FileChannel channel) throws IOException {
    channel.write(ByteBuffer.allocate(1), 1 + RANDOM.nextInt(1 << 20));
    try {
      return Files.size(file) == channel.size();
    } catch (NoSuchFileException e) {
      return false;
    }
  }

  /** Ends the lock and deletes its file. */
  @Override
  public void close() throws IOException {
    try (channel) {
      if (Files.exists(file, LinkOption.NOFOLLOW_LINKS)) {
        disk.delete(file);
      }
    } finally {
      OURS.remove(key);
    }
  }
}
