package io.portllm.spark.internal.hadoop;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.net.URI;
import java.nio.channels.FileChannel;
import java.nio.channels.SeekableByteChannel;
import java.nio.file.AccessMode;
import java.nio.file.CopyOption;
import java.nio.file.DirectoryStream;
import java.nio.file.FileStore;
import java.nio.file.FileSystem;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.nio.file.OpenOption;
import java.nio.file.Path;
import java.nio.file.ProviderMismatchException;
import java.nio.file.ReadOnlyFileSystemException;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.FileAttributeView;
import java.nio.file.spi.FileSystemProvider;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.hadoop.fs.FileStatus;

/** What {@code java.nio.file} asks of a file system, answered by Hadoop; reading only. */
final class HadoopProvider extends FileSystemProvider {
  private static HadoopPath require(Path path) {
    if (path instanceof HadoopPath hadoop) {
      return hadoop;
    }
    throw new ProviderMismatchException(String.valueOf(path));
  }

  /** What Hadoop knows of a path; {@link NoSuchFileException} if there is nothing. */
  private static FileStatus status(HadoopPath path) throws IOException {
    try {
      return path.getFileSystem().hadoop().getFileStatus(path.hadoop());
    } catch (FileNotFoundException e) {
      throw missing(path, e);
    }
  }

  private static NoSuchFileException missing(Path path, Exception cause) {
    NoSuchFileException missing = new NoSuchFileException(path.toString());
    missing.initCause(cause);
    return missing;
  }

  @Override
  public String getScheme() {
    return "hadoop";
  }

  @Override
  public FileChannel newFileChannel(Path path, Set<? extends OpenOption> options, FileAttribute<?>... attributes) throws IOException {
    if (options.stream().anyMatch(option -> option != StandardOpenOption.READ && !(option instanceof LinkOption))) {
      throw new ReadOnlyFileSystemException();
    }
    HadoopPath file = require(path);
    FileStatus status = status(file);
    if (status.isDirectory()) {
      throw new IOException("[" + path + "] is a folder");
    }
    return new HadoopChannel(file.getFileSystem().hadoop().open(file.hadoop()), status.getLen());
  }

  @Override
  public SeekableByteChannel newByteChannel(Path path, Set<? extends OpenOption> options, FileAttribute<?>... attributes)
      throws IOException {
    return newFileChannel(path, options, attributes);
  }

  @Override
  public DirectoryStream<Path> newDirectoryStream(Path folder, DirectoryStream.Filter<? super Path> filter) throws IOException {
    HadoopPath parent = require(folder);
    if (!status(parent).isDirectory()) {
      throw new NotDirectoryException(folder.toString());
    }
    List<Path> entries = new ArrayList<>();
    try {
      for (FileStatus status : parent.getFileSystem().hadoop().listStatus(parent.hadoop())) {
        Path entry = parent.resolve(status.getPath().getName());
        if (filter.accept(entry)) {
          entries.add(entry);
        }
      }
    } catch (FileNotFoundException e) {
      throw missing(folder, e);
    }
    return new DirectoryStream<>() {
      @Override
      public Iterator<Path> iterator() {
        return entries.iterator();
      }

      @Override
      public void close() {}
    };
  }

  @Override
  public void checkAccess(Path path, AccessMode... modes) throws IOException {
    status(require(path));
    for (AccessMode mode : modes) {
      if (mode == AccessMode.WRITE) {
        throw new ReadOnlyFileSystemException();
      }
    }
  }

  @Override
  public <A extends BasicFileAttributes> A readAttributes(Path path, Class<A> type, LinkOption... options) throws IOException {
    if (type != BasicFileAttributes.class) {
      throw new UnsupportedOperationException(type.getName());
    }
    return type.cast(HadoopAttributes.of(status(require(path))));
  }

  @Override
  public Map<String, Object> readAttributes(Path path, String attributes, LinkOption... options) {
    throw new UnsupportedOperationException("attributes by name");
  }

  @Override
  public <V extends FileAttributeView> V getFileAttributeView(Path path, Class<V> type, LinkOption... options) {
    return null;
  }

  @Override
  public boolean isSameFile(Path one, Path other) {
    return one.toAbsolutePath().normalize().equals(other.toAbsolutePath().normalize());
  }

  @Override
  public boolean isHidden(Path path) {
    Path name = path.getFileName();
    return name != null && name.toString().startsWith(".");
  }

  @Override
  public FileStore getFileStore(Path path) {
    throw new UnsupportedOperationException("file stores");
  }

  @Override
  public FileSystem newFileSystem(URI uri, Map<String, ?> environment) {
    throw new UnsupportedOperationException("HadoopPaths gives paths on " + uri);
  }

  @Override
  public FileSystem getFileSystem(URI uri) {
    throw new UnsupportedOperationException("HadoopPaths gives paths on " + uri);
  }

  @Override
  public Path getPath(URI uri) {
    throw new UnsupportedOperationException("HadoopPaths gives paths on " + uri);
  }

  @Override
  public void createDirectory(Path folder, FileAttribute<?>... attributes) {
    throw new ReadOnlyFileSystemException();
  }

  @Override
  public void delete(Path path) {
    throw new ReadOnlyFileSystemException();
  }

  @Override
  public void copy(Path source, Path target, CopyOption... options) {
    throw new ReadOnlyFileSystemException();
  }

  @Override
  public void move(Path source, Path target, CopyOption... options) {
    throw new ReadOnlyFileSystemException();
  }

  @Override
  public void setAttribute(Path path, String attribute, Object value, LinkOption... options) {
    throw new ReadOnlyFileSystemException();
  }
}
