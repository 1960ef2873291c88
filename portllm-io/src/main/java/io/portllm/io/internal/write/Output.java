package io.portllm.io.internal.write;

import io.portllm.internal.text.Names;
import java.io.IOException;
import java.nio.channels.ClosedByInterruptException;
import java.nio.channels.FileChannel;
import java.nio.file.AtomicMoveNotSupportedException;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;

/**
 * An output, file or folder, that is whole or absent: made under a temporary name beside its target, forced to disk, and renamed.
 *
 * <p>A folder that replaces another takes two renames: the old one aside, the new one in. A process that dies between them leaves both
 * complete; the next one that writes to the target puts the old one back first. A side file is locked meanwhile, so that of two
 * writers of one target the second is refused.
 */
final class Output implements AutoCloseable {
  private static final SecureRandom RANDOM = new SecureRandom();

  private final Path target;
  private final boolean folder;
  private final boolean overwrite;
  private final String prefix;
  private final TargetLock lock;
  private final Path temporary;
  private boolean committed;

  /**
   * Checks the target and makes the temporary.
   *
   * @throws FileAlreadyExistsException if the target exists and is not to be overwritten
   */
  Output(Path requested, boolean folder, boolean overwrite) throws IOException {
    this.target = requested.toAbsolutePath().normalize();
    this.folder = folder;
    this.overwrite = overwrite;
    Path name = target.getFileName();
    Path parent = target.getParent();
    if (name == null || parent == null) {
      throw new IOException("[" + requested + "] cannot be an output");
    }
    if (!Files.isDirectory(parent)) {
      throw new NoSuchFileException(parent.toString(), null, "the folder of the output does not exist");
    }
    this.prefix = "." + name + ".portllm-";
    checkTarget();
    this.lock = TargetLock.of(target);
    try {
      recover();
      checkTarget();
      this.temporary = target.resolveSibling(prefix + ProcessHandle.current().pid() + "-" + Long.toHexString(RANDOM.nextLong()) + ".tmp");
      if (folder) {
        Files.createDirectory(temporary);
      }
    } catch (Throwable e) {
      lock.close();
      throw e;
    }
  }

  /** Where to write: a file to create, or a folder that exists. */
  Path temporary() {
    return temporary;
  }

  /** Creates a file below the temporary. */
  static FileChannel create(Path file) throws IOException {
    return FileChannel.open(file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE, LinkOption.NOFOLLOW_LINKS);
  }

  /** Puts the finished temporary, of which every file was forced, in the target's place. */
  void commit() throws IOException {
    // Who does not know of the lock may have put something there in the meantime.
    checkTarget();
    Path replaced = null;
    if (folder) {
      forceFolders(temporary);
      replaced = replaceFolder();
    } else {
      move(temporary, target);
    }
    committed = true;
    try {
      force(target.getParent());
    } catch (IOException e) {
      throw new IOException("[" + target
          + "] is complete, but whether it survives a power cut is not known: its folder could not be synced", e);
    }
    // Only now that the renames are on disk: else a power cut could leave the old folder in place, half deleted.
    if (replaced != null) {
      try {
        delete(replaced);
      } catch (IOException e) {
        throw new IOException("[" + target + "] is complete, but what it replaced could not be deleted from "
            + Names.quote(replaced.toString()), e);
      }
    }
  }

  /** Where the folder that was replaced lies now; null if there was none. */
  private Path replaceFolder() throws IOException {
    if (!Files.exists(target, LinkOption.NOFOLLOW_LINKS) || isEmptyFolder(target)) {
      move(temporary, target);
      return null;
    }
    Path aside = target.resolveSibling(temporary.getFileName().toString().replaceFirst("\\.tmp$", ".old"));
    move(target, aside);
    try {
      move(temporary, target);
    } catch (IOException e) {
      move(aside, target);
      throw e;
    }
    return aside;
  }

  private static void move(Path from, Path to) throws IOException {
    try {
      Files.move(from, to, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    } catch (AtomicMoveNotSupportedException e) {
      throw new IOException("[" + to + "] cannot be put in place by an atomic move on this file system", e);
    }
  }

  private void checkTarget() throws IOException {
    if (!Files.exists(target, LinkOption.NOFOLLOW_LINKS)) {
      return;
    }
    if (Files.isSymbolicLink(target)) {
      throw new FileAlreadyExistsException(target.toString(), null, "is a symbolic link; name what it points to");
    }
    boolean isFolder = Files.isDirectory(target);
    if (isFolder != folder) {
      throw new FileAlreadyExistsException(target.toString(), null, isFolder ? "is a folder, not a file" : "is a file, not a folder");
    }
    if (isFolder && isEmptyFolder(target)) {
      return;
    }
    if (!overwrite) {
      throw new FileAlreadyExistsException(target.toString(), null, "exists, and was not to be overwritten");
    }
    if (isFolder && !holdsModel(target)) {
      throw new FileAlreadyExistsException(
          target.toString(), null, "is a folder without a .safetensors or .gguf file, and so is not overwritten");
    }
  }

  private static boolean isEmptyFolder(Path path) throws IOException {
    try (DirectoryStream<Path> entries = Files.newDirectoryStream(path)) {
      return !entries.iterator().hasNext();
    }
  }

  private static boolean holdsModel(Path path) throws IOException {
    try (DirectoryStream<Path> entries = Files.newDirectoryStream(path, "*.{safetensors,gguf}")) {
      return entries.iterator().hasNext();
    }
  }

  /** Puts an old folder back that a dead process left aside, and deletes what dead processes left unfinished. */
  private void recover() throws IOException {
    Pattern ours = Pattern.compile(Pattern.quote(prefix) + "[0-9]+-[0-9a-f]+\\.(tmp|old)");
    List<Path> left = new ArrayList<>();
    try (DirectoryStream<Path> entries = Files.newDirectoryStream(target.getParent())) {
      for (Path entry : entries) {
        if (ours.matcher(entry.getFileName().toString()).matches()) {
          left.add(entry);
        }
      }
    } catch (DirectoryIteratorException e) {
      throw e.getCause();
    }
    for (Path entry : left) {
      if (entry.getFileName().toString().endsWith(".old") && isFree(target)) {
        move(entry, target);
      } else {
        delete(entry);
      }
    }
  }

  /** Whether nothing is at {@code path}, or an empty folder. */
  private static boolean isFree(Path path) throws IOException {
    return !Files.exists(path, LinkOption.NOFOLLOW_LINKS) || Files.isDirectory(path, LinkOption.NOFOLLOW_LINKS) && isEmptyFolder(path);
  }

  private static void forceFolders(Path root) throws IOException {
    Files.walkFileTree(
        root,
        new SimpleFileVisitor<>() {
          @Override
          public FileVisitResult postVisitDirectory(Path directory, IOException failure) throws IOException {
            if (failure != null) {
              throw failure;
            }
            force(directory);
            return FileVisitResult.CONTINUE;
          }
        });
  }

  /** Syncs a folder. An interrupt neither stops it nor is lost: by now the outcome must be one or the other. */
  private static void force(Path directory) throws IOException {
    // Windows cannot open a folder as a channel, and needs no sync for a rename.
    if (!directory.getFileSystem().supportedFileAttributeViews().contains("posix")) {
      return;
    }
    boolean interrupted = Thread.interrupted();
    try {
      while (true) {
        try (FileChannel channel = FileChannel.open(directory, StandardOpenOption.READ)) {
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

  private static void delete(Path path) throws IOException {
    if (!Files.isDirectory(path, LinkOption.NOFOLLOW_LINKS)) {
      Files.deleteIfExists(path);
      return;
    }
    Files.walkFileTree(
        path,
        new SimpleFileVisitor<>() {
          @Override
          public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
            Files.delete(file);
            return FileVisitResult.CONTINUE;
          }

          @Override
          public FileVisitResult postVisitDirectory(Path directory, IOException failure) throws IOException {
            if (failure != null) {
              throw failure;
            }
            Files.delete(directory);
            return FileVisitResult.CONTINUE;
          }
        });
  }

  /** Deletes the temporary unless it was committed, and ends the lock. */
  @Override
  public void close() throws IOException {
    try {
      if (!committed) {
        delete(temporary);
      }
    } finally {
      lock.close();
    }
  }

  @Override
  public String toString() {
    return Names.quote(target.toString());
  }
}
