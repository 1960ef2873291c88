package io.portllm.spark;

import java.io.IOException;
import java.net.URI;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RawLocalFileSystem;
import org.apache.hadoop.fs.permission.FsPermission;
import org.apache.hadoop.util.Progressable;

/**
 * A file system of another scheme, {@code store:}, over the local disk, which fails when a test says so. Joins parts as HDFS does.
 */
public class StoreFiles extends RawLocalFileSystem {
  /** How many of the next writes break off after some bytes. */
  static final AtomicInteger FAILURES = new AtomicInteger();

  /** Done when a file is created. */
  static volatile Runnable onCreate = () -> {};

  private URI uri;

  @Override
  public void initialize(URI name, Configuration configuration) throws IOException {
    super.initialize(URI.create("file:///"), configuration);
    uri = URI.create(name.getScheme() + "://" + (name.getAuthority() == null ? "/" : name.getAuthority()));
    setConf(configuration);
  }

  @Override
  public URI getUri() {
    return uri == null ? super.getUri() : uri;
  }

  @Override
  public String getScheme() {
    return getUri().getScheme();
  }

  /** The local one names paths of the scheme {@code file:}. */
  private FileStatus ours(FileStatus status) {
    status.setPath(new Path(uri.getScheme(), uri.getAuthority(), status.getPath().toUri().getPath()));
    return status;
  }

  @Override
  public FileStatus getFileStatus(Path path) throws IOException {
    return ours(super.getFileStatus(path));
  }

  @Override
  public FileStatus[] listStatus(Path path) throws IOException {
    List<FileStatus> entries = new ArrayList<>();
    for (FileStatus status : super.listStatus(path)) {
      entries.add(ours(status));
    }
    return entries.toArray(FileStatus[]::new);
  }

  @Override
  public FSDataOutputStream createNonRecursive(
      Path path, FsPermission permission, boolean overwrite, int buffer, short replication, long block, Progressable progress)
      throws IOException {
    onCreate.run();
    return breaking(super.createNonRecursive(path, permission, overwrite, buffer, replication, block, progress));
  }

  /** As HDFS: appends the sources, which lie in the target's folder, and takes them away. */
  @Override
  public void concat(Path target, Path[] sources) throws IOException {
    if (getFileStatus(target).getLen() != 0) {
      throw new IOException(target + " has bytes, which the local file system would lose");
    }
    for (Path source : sources) {
      if (!source.getParent().equals(target.getParent())) {
        throw new IOException("Source file " + source + " is not in the same directory with the target " + target);
      }
    }
    super.concat(target, sources);
    for (Path source : sources) {
      delete(source, false);
    }
  }

  static FSDataOutputStream breaking(FSDataOutputStream out) throws IOException {
    if (FAILURES.getAndUpdate(left -> Math.max(0, left - 1)) == 0) {
      return out;
    }
    return new FSDataOutputStream(out, null) {
      @Override
      public void write(byte[] bytes, int offset, int length) throws IOException {
        out.write(bytes, offset, length / 2);
        throw new IOException("broken off by the test");
      }
    };
  }
}
