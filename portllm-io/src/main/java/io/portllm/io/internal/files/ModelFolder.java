package io.portllm.io.internal.files;

import io.portllm.SideFile;
import io.portllm.internal.text.Names;
import io.portllm.io.MalformedModelException;
import io.portllm.io.internal.record.OutputRecord;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * A model folder, and which files may be read through it.
 *
 * <p>A symbolic link may lead to a file within the folder. The hub's cache keeps files as
 * {@code models--X/snapshots/REVISION/NAME -> ../../blobs/HASH}: in such a folder links may lead to the same repository's
 * {@code blobs} too. Every other link is refused: a model from elsewhere could make any file of the machine part of the output.
 */
public final class ModelFolder {
  private final Path folder;
  private final Path real;

  public ModelFolder(Path folder) throws IOException {
    this.folder = folder;
    this.real = folder.toRealPath();
  }

  public Path path() {
    return folder;
  }

  /** Whether the folder has an entry of this name, of whatever kind. */
  public boolean has(String name) {
    return Files.exists(folder.resolve(name), LinkOption.NOFOLLOW_LINKS);
  }

  /**
   * The regular file of this name.
   *
   * @param name a path within the folder with {@code /} between the parts
   * @throws MalformedModelException if there is none (IX-FILE), or it is a link out of the folder (IX-PATH)
   */
  public Path file(String name) throws IOException {
    Path file;
    try {
      file = folder.resolve(name);
    } catch (InvalidPathException e) {
      throw malformed(folder, "IX-FILE", "the file name " + Names.quote(name) + " cannot be had on this file system", e);
    }
    if (!Files.exists(file, LinkOption.NOFOLLOW_LINKS)) {
      throw malformed(file, "IX-FILE", "the file is missing", null);
    }
    Path target;
    try {
      target = file.toRealPath();
    } catch (IOException e) {
      throw malformed(file, "IX-FILE", "the file is a link that leads nowhere", e);
    }
    if (!target.startsWith(real) && !isInBlobs(target)) {
      throw malformed(file, "IX-PATH", "the file is a link to " + Names.quote(target.toString()) + ", outside the model folder", null);
    }
    if (!Files.isRegularFile(target)) {
      throw malformed(file, "IX-FILE", "expected a file, found a folder, pipe or device", null);
    }
    return file;
  }

  private boolean isInBlobs(Path target) {
    Path snapshots = real.getParent();
    Path repository = snapshots == null ? null : snapshots.getParent();
    return repository != null
        && snapshots.endsWith("snapshots")
        && repository.getFileName() != null
        && repository.getFileName().toString().startsWith("models--")
        && target.startsWith(repository.resolve("blobs"));
  }

  /** The names of the files and links directly in the folder that end like this, sorted. */
  public List<String> namesEndingWith(String ending) throws IOException {
    List<String> names = new ArrayList<>();
    for (Path entry : entries(folder)) {
      if (entry.getFileName().toString().endsWith(ending) && !Files.isDirectory(entry)) {
        names.add(entry.getFileName().toString());
      }
    }
    return names;
  }

  /**
   * The files without weights, hidden ones left out, of the folder and of the folders directly in it, sorted by name.
   *
   * @throws MalformedModelException if one is a link that is not followed
   */
  public List<SideFile> sideFiles() throws IOException {
    List<SideFile> files = new ArrayList<>();
    for (Path entry : entries(folder)) {
      String name = entry.getFileName().toString();
      if (isHidden(name)) {
        continue;
      }
      if (Files.isDirectory(entry)) {
        requireInside(entry);
        for (Path inner : entries(entry)) {
          if (!Files.isDirectory(inner) && !isHidden(inner.getFileName().toString())) {
            addSideFile(name + "/" + inner.getFileName(), files);
          }
        }
      } else {
        addSideFile(name, files);
      }
    }
    files.sort(Comparator.comparing(SideFile::name));
    return files;
  }

  private void addSideFile(String name, List<SideFile> files) throws IOException {
    // A record is of the model that it lies with, not of what will be made of it.
    if (!WeightFiles.isWeights(name) && !OutputRecord.isRecord(name)) {
      file(name);
      files.add(new FolderFile(this, name));
    }
  }

  /** A folder that is a link out of the model folder would bring in names from elsewhere. */
  private void requireInside(Path entry) throws IOException {
    Path target = entry.toRealPath();
    if (!target.startsWith(real)) {
      throw malformed(entry, "IX-PATH", "the folder is a link to " + Names.quote(target.toString()) + ", outside the model folder", null);
    }
  }

  private static boolean isHidden(String name) {
    return name.startsWith(".");
  }

  private static List<Path> entries(Path folder) throws IOException {
    List<Path> entries = new ArrayList<>();
    try (DirectoryStream<Path> stream = Files.newDirectoryStream(folder)) {
      stream.forEach(entries::add);
    } catch (DirectoryIteratorException e) {
      throw e.getCause();
    }
    entries.sort(Comparator.comparing(entry -> entry.getFileName().toString()));
    return entries;
  }

  private static MalformedModelException malformed(Path file, String rule, String message, Exception cause) {
    MalformedModelException refusal = new MalformedModelException(file, rule, -1, message);
    if (cause != null) {
      refusal.initCause(cause);
    }
    return refusal;
  }

  /** A file beside the weights. */
  private record FolderFile(ModelFolder folder, String name) implements SideFile {
    @Override
    public InputStream open() throws IOException {
      // Looked at again, because it may have become a link or a pipe since.
      Path file = folder.file(name);
      Paths.regularFile(file);
      return Files.newInputStream(file);
    }

    @Override
    public String toString() {
      return folder.path().resolve(name).toString();
    }
  }
}
