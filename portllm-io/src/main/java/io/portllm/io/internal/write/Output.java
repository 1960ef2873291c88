package io.portllm.io.internal.write;

import io.portllm.internal.text.Names;
import io.portllm.io.internal.record.OutputRecord;
import java.io.IOException;
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
  private final Disk disk;
  private final String prefix;
  private final TargetLock lock;
  private final List<Path> leftovers = new ArrayList<>();
  private final Path temporary;
  private final Path record;
  private Path temporaryRecord;
  private boolean committed;
  private boolean kept;

  /**
   * Checks the target and makes the temporary.
   *
   * @param resumes whether unfinished folders that dead processes left are not to be deleted yet
   * @throws FileAlreadyExistsException if the target exists and is not to be overwritten
   */
  Output(Path requested, boolean folder, boolean overwrite, boolean resumes, Disk disk) throws IOException {
    this.target = requested.toAbsolutePath().normalize();
    this.folder = folder;
    this.overwrite = overwrite;
    this.disk = disk;
    Path name = target.getFileName();
    Path parent = target.getParent();
    if (name == null || parent == null) {
      throw new IOException("[" + requested + "] cannot be an output");
    }
    if (!Files.isDirectory(parent)) {
      throw new NoSuchFileException(parent.toString(), null, "the folder of the output does not exist");
    }
    this.prefix = "." + name + ".portllm-";
    this.record = target.resolveSibling(name + "." + OutputRecord.NAME);
    checkTarget();
    this.lock = TargetLock.of(target, disk);
    try {
      recover(resumes);
      checkTarget();
      this.temporary = newTemporary();
      if (folder) {
        disk.createFolder(temporary);
      }
    } catch (Throwable e) {
      lock.close();
      throw e;
    }
  }

  private Path newTemporary() {
    return target.resolveSibling(prefix + ProcessHandle.current().pid() + "-" + Long.toHexString(RANDOM.nextLong()) + ".tmp");
  }

  /** Where to write the record of a file, if it is to have one. */
  Path temporaryRecord() {
    temporaryRecord = newTemporary();
    return temporaryRecord;
  }

  /** Where to write: a file to create, or a folder that exists. */
  Path temporary() {
    return temporary;
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
      deleteOldRecord();
      move(temporary, target);
    }
    committed = true;
    try {
      disk.forceFolder(target.getParent());
    } catch (IOException e) {
      throw new IOException("[" + target
          + "] is complete, but whether it survives a power cut is not known: its folder could not be synced", e);
    }
    if (temporaryRecord != null) {
      try {
        move(temporaryRecord, record);
        disk.forceFolder(target.getParent());
      } catch (IOException e) {
        throw new IOException("[" + target + "] is complete, but its record could not be put beside it", e);
      }
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

  /**
   * Deletes the record of what is replaced, on the disk too: at every moment a record is of the file that it lies beside, or there is none.
   */
  private void deleteOldRecord() throws IOException {
    if (Files.exists(record, LinkOption.NOFOLLOW_LINKS)) {
      disk.delete(record);
      disk.forceFolder(target.getParent());
    }
  }

  /** Where the folder that was replaced lies now; null if there was none. */
  private Path replaceFolder() throws IOException {
    if (!Files.exists(target, LinkOption.NOFOLLOW_LINKS) || isEmptyFolder(target)) {
      move(temporary, target);
      return null;
    }
    // What earlier runs put aside and deleted must not come back, half deleted, beside what is put aside now.
    disk.forceFolder(target.getParent());
    Path aside = target.resolveSibling(temporary.getFileName().toString().replaceFirst("\\.tmp$", ".old"));
    move(target, aside);
    try {
      move(temporary, target);
    } catch (IOException e) {
      try {
        move(aside, target);
      } catch (IOException again) {
        // The next writer puts it back.
        again.addSuppressed(e);
        throw new IOException("[" + target + "] was put aside as " + Names.quote(aside.toString()) + " and could not be put back", again);
      }
      throw e;
    }
    return aside;
  }

  private void move(Path from, Path to) throws IOException {
    try {
      disk.move(from, to);
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

  /** The unfinished folders that dead processes left, if they were not to be deleted. */
  List<Path> leftovers() {
    return leftovers;
  }

  /** Deletes them. */
  void deleteLeftovers() throws IOException {
    for (Path leftover : leftovers) {
      delete(leftover);
    }
  }

  /** Leaves the temporary where it is, for a later writer, unless it is committed. */
  void keep() {
    kept = true;
  }

  /** Puts an old folder back that a dead process left aside, and deletes what dead processes left unfinished. */
  private void recover(boolean resumes) throws IOException {
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
    if (!left.isEmpty()) {
      // The dead process may have put its output in place and not synced that: until it is, what was replaced is the only sure copy.
      disk.forceFolder(target.getParent());
    }
    for (Path entry : left) {
      if (entry.getFileName().toString().endsWith(".old") && isFree(target)) {
        move(entry, target);
      } else if (resumes && entry.toString().endsWith(".tmp") && Files.isDirectory(entry, LinkOption.NOFOLLOW_LINKS)) {
        leftovers.add(entry);
      } else {
        delete(entry);
      }
    }
  }

  /** Whether nothing is at {@code path}, or an empty folder. */
  private static boolean isFree(Path path) throws IOException {
    return !Files.exists(path, LinkOption.NOFOLLOW_LINKS) || Files.isDirectory(path, LinkOption.NOFOLLOW_LINKS) && isEmptyFolder(path);
  }

  private void forceFolders(Path root) throws IOException {
    Files.walkFileTree(
        root,
        new SimpleFileVisitor<>() {
          @Override
          public FileVisitResult postVisitDirectory(Path directory, IOException failure) throws IOException {
            if (failure != null) {
              throw failure;
            }
            disk.forceFolder(directory);
            return FileVisitResult.CONTINUE;
          }
        });
  }

  private void delete(Path path) throws IOException {
    if (!Files.exists(path, LinkOption.NOFOLLOW_LINKS)) {
      return;
    }
    if (!Files.isDirectory(path, LinkOption.NOFOLLOW_LINKS)) {
      disk.delete(path);
      return;
    }
    Files.walkFileTree(
        path,
        new SimpleFileVisitor<>() {
          @Override
          public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
            disk.delete(file);
            return FileVisitResult.CONTINUE;
          }

          @Override
          public FileVisitResult postVisitDirectory(Path directory, IOException failure) throws IOException {
            if (failure != null) {
              throw failure;
            }
            disk.delete(directory);
            return FileVisitResult.CONTINUE;
          }
        });
  }

  /** Deletes the temporary unless it was committed or is kept, and ends the lock. */
  @Override
  public void close() throws IOException {
    try {
      if (!committed && !kept) {
        delete(temporary);
      }
      if (temporaryRecord != null) {
        delete(temporaryRecord);
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
