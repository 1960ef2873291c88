package io.portllm.io.internal.write;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedByInterruptException;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;

/** The file systems of the JVM. */
final class RealDisk implements Disk {
  @Override
  public Sink create(Path file) throws IOException {
    FileChannel channel = FileChannel.open(file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE, LinkOption.NOFOLLOW_LINKS);
    return new Sink() {
      @Override
      public int write(ByteBuffer bytes, long position) throws IOException {
        try {
          return channel.write(bytes, position);
        } catch (ClosedChannelException e) {
          throw e;
        } catch (IOException e) {
          // The system says what, such as that the disk is full, but not where.
          throw new IOException("[" + file + "] could not be written from byte " + position + " on: " + e.getMessage(), e);
        }
      }

      @Override
      public void force() throws IOException {
        try {
          channel.force(true);
        } catch (ClosedChannelException e) {
          throw e;
        } catch (IOException e) {
          throw new IOException("[" + file + "] could not be synced: " + e.getMessage(), e);
        }
      }

      @Override
      public void close() throws IOException {
        channel.close();
      }
    };
  }

  @Override
  public FileChannel openLock(Path file) throws IOException {
    return FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE, LinkOption.NOFOLLOW_LINKS);
  }

  @Override
  public void createFolder(Path folder) throws IOException {
    Files.createDirectory(folder);
  }

  @Override
  public void move(Path from, Path to) throws IOException {
    Files.move(from, to, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
  }

  @Override
  public void delete(Path path) throws IOException {
    Files.delete(path);
  }

  /** An interrupt neither stops it nor is lost: by now the outcome must be one or the other. */
  @Override
  public void forceFolder(Path folder) throws IOException {
    // Windows cannot open a folder as a channel, and needs no sync for a rename.
    if (!folder.getFileSystem().supportedFileAttributeViews().contains("posix")) {
      return;
    }
    boolean interrupted = Thread.interrupted();
    try {
      while (true) {
        try (FileChannel channel = FileChannel.open(folder, StandardOpenOption.READ)) {
          channel.force(true);
          return;
        } catch (ClosedByInterruptException e) {
          interrupted |= Thread.interrupted();
        }
      }
    } finally {
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }

  @Override
  public long room(Path folder) throws IOException {
    return Files.getFileStore(folder).getUsableSpace();
  }
}
