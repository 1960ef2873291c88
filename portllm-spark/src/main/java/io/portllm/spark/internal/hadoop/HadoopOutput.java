package io.portllm.spark.internal.hadoop;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.Serializable;
import java.nio.file.FileAlreadyExistsException;
import java.util.List;
import java.util.Set;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.CommonPathCapabilities;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.LocalFileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RawLocalFileSystem;
import org.apache.hadoop.fs.StreamCapabilities;

/**
 * A model that many processes write and one commits.
 *
 * <p>Where the file system renames, all is made in a folder beside the target, {@code .NAME.portllm-RUN.work}: {@code parts} has what
 * attempts of tasks write, each under a name of its own, {@code model} what the target will be. The parts of the attempts that counted are
 * moved to {@code model}, which one rename puts in place. Attempts that are still running by then have lost the folder that they write to.
 *
 * <p>On object stores a rename copies, object by object, but an object appears whole when its stream is closed: there tasks write under the
 * final names, the same bytes however often, and the index comes last.
 */
public final class HadoopOutput implements Serializable {
  private static final long serialVersionUID = 1L;

  /** Schemes of object stores, on which folders are not renamed in one step. */
  private static final Set<String> OBJECT_STORES = Set.of("s3a", "s3n", "s3", "gs", "oss", "obs", "cosn", "swift", "tos", "wasb", "wasbs");

  private static final int BUFFER_BYTES = 64 << 10;

  /** Writes the content of a file. */
  public interface Content {
    void writeTo(OutputStream out) throws IOException;
  }

  private final String target;
  private final boolean folder;
  private final boolean overwrite;
  private final boolean direct;
  private final String work;

  private HadoopOutput(String target, boolean folder, boolean overwrite, boolean direct, String work) {
    this.target = target;
    this.folder = folder;
    this.overwrite = overwrite;
    this.direct = direct;
    this.work = work;
  }

  /**
   * Checks the target. Makes nothing.
   *
   * @param folder whether the output is a folder or a file
   * @param run tells this job's work from others'
   * @throws FileAlreadyExistsException if the target exists and is not to be overwritten, or cannot be
   * @throws IOException if the folder that the target is to be in does not exist
   */
  public static HadoopOutput of(String location, boolean folder, boolean overwrite, String run, Configuration configuration)
      throws IOException {
    Path named = new Path(location);
    FileSystem files = fileSystem(named, configuration);
    Path path = files.makeQualified(named);
    if (path.getParent() == null || path.getName().isEmpty()) {
      throw new IOException("[" + location + "] cannot be an output");
    }
    boolean direct = OBJECT_STORES.contains(String.valueOf(path.toUri().getScheme()));
    if (!direct && !files.getFileStatus(path.getParent()).isDirectory()) {
      throw new IOException("[" + location + "] cannot be an output: it lies in a file");
    }
    String work = new Path(path.getParent(), "." + path.getName() + ".portllm-" + run + ".work").toString();
    HadoopOutput output = new HadoopOutput(path.toString(), folder, overwrite, direct, work);
    output.checkTarget(files);
    return output;
  }

  /** The file system, without the checksum files that Hadoop otherwise writes beside local ones. */
  static FileSystem fileSystem(Path path, Configuration configuration) throws IOException {
    FileSystem files = path.getFileSystem(configuration);
    return files instanceof LocalFileSystem local ? local.getRawFileSystem() : files;
  }

  private static boolean isLocal(FileSystem files) {
    return files.getClass() == RawLocalFileSystem.class;
  }

  private void checkTarget(FileSystem files) throws IOException {
    FileStatus status;
    try {
      status = files.getFileStatus(new Path(target));
    } catch (FileNotFoundException e) {
      return;
    }
    if (status.isDirectory() != folder) {
      throw new FileAlreadyExistsException(target, null, folder ? "is a file, not a folder" : "is a folder, not a file");
    }
    FileStatus[] entries = folder ? files.listStatus(new Path(target)) : new FileStatus[] {status};
    if (entries.length == 0) {
      return;
    }
    if (!overwrite) {
      throw new FileAlreadyExistsException(target, null, "exists, and was not to be overwritten");
    }
    if (direct) {
      throw new FileAlreadyExistsException(target, null, "exists, and cannot be replaced in one step on an object store");
    }
    for (FileStatus entry : entries) {
      if (entry.getPath().getName().endsWith(".safetensors")) {
        return;
      }
    }
    throw new FileAlreadyExistsException(target, null, "is a folder without a .safetensors file, and so is not overwritten");
  }

  /** What is made, qualified. */
  public String target() {
    return target;
  }

  /**
   * Whether a file can be made of parts. On object stores it cannot, and elsewhere parts must be joined without copying them through one
   * process, except on local disks.
   */
  public boolean joinsParts(Configuration configuration) throws IOException {
    FileSystem files = fileSystem(new Path(target), configuration);
    return !direct && (isLocal(files) || files.hasPathCapability(new Path(target), CommonPathCapabilities.FS_CONCAT));
  }

  /** Makes the folders that tasks write to. */
  public void begin(Configuration configuration) throws IOException {
    FileSystem files = fileSystem(new Path(target), configuration);
    if (!direct && !(files.mkdirs(parts()) && files.mkdirs(model()))) {
      throw new IOException("[" + work + "] could not be made");
    }
  }

  private Path parts() {
    return new Path(work, "parts");
  }

  private Path model() {
    return new Path(work, "model");
  }

  /** Where a file of the output lies until it is committed. */
  private Path place(String name) {
    if (direct) {
      return folder ? new Path(target, name) : new Path(target);
    }
    return new Path(model(), name);
  }

  /**
   * Writes a part of a file, or the whole of it.
   *
   * @param name the file's name within the output
   * @param part a name that no other attempt has
   * @return where it was written
   */
  public String writePart(String name, String part, Content content, Configuration configuration) throws IOException {
    FileSystem files = fileSystem(new Path(target), configuration);
    Path path = direct ? place(name) : new Path(parts(), part);
    write(files, path, content);
    return path.toString();
  }

  /** Writes a file that the driver has, such as one beside the weights. */
  public void writeWhole(String name, Content content, Configuration configuration) throws IOException {
    FileSystem files = fileSystem(new Path(target), configuration);
    Path path = place(name);
    if (!direct) {
      files.mkdirs(path.getParent());
    }
    write(files, path, content);
  }

  private void write(FileSystem files, Path path, Content content) throws IOException {
    // A folder that was deleted must not come back: then the job has ended, and this attempt is one too many. The local file system would
    // make it anew.
    if (!direct && !files.exists(path.getParent())) {
      throw new FileNotFoundException("[" + path.getParent() + "] is gone: the job that it was for has ended");
    }
    FSDataOutputStream out = direct
        ? files.create(path, true, BUFFER_BYTES)
        : files.createNonRecursive(path, false, BUFFER_BYTES, files.getDefaultReplication(path), files.getDefaultBlockSize(path), null);
    boolean complete = false;
    try {
      content.writeTo(out);
      if (out.hasCapability(StreamCapabilities.HSYNC)) {
        out.hsync();
      }
      complete = true;
    } finally {
      if (!complete && out.hasCapability(CommonPathCapabilities.ABORTABLE_STREAM)) {
        // Closing would make an object of what was written so far.
        out.abort();
      }
      out.close();
    }
  }

  /**
   * Makes a file of the output of parts.
   *
   * @param parts where they were written, in their order
   * @param bytes how long the file must be
   */
  public void assemble(String name, List<String> parts, long bytes, Configuration configuration) throws IOException {
    FileSystem files = fileSystem(new Path(target), configuration);
    Path path = place(name);
    if (!direct) {
      files.mkdirs(path.getParent());
      if (parts.size() == 1) {
        rename(files, new Path(parts.get(0)), path);
      } else if (isLocal(files)) {
        write(files, path, out -> copyAll(files, parts, out));
      } else {
        // HDFS joins files of one folder only.
        Path joined = new Path(parts(), parts.get(0).substring(parts.get(0).lastIndexOf('/') + 1) + "-joined");
        files.create(joined, false).close();
        files.concat(joined, parts.stream().map(Path::new).toArray(Path[]::new));
        rename(files, joined, path);
      }
    }
    long found = files.getFileStatus(path).getLen();
    if (found != bytes) {
      throw new IOException("[" + path + "] should have " + bytes + " bytes but has " + found);
    }
  }

  private static void copyAll(FileSystem files, List<String> parts, OutputStream out) throws IOException {
    for (String part : parts) {
      try (InputStream in = files.open(new Path(part))) {
        in.transferTo(out);
      }
      files.delete(new Path(part), false);
    }
  }

  private static void rename(FileSystem files, Path from, Path to) throws IOException {
    if (!files.rename(from, to)) {
      throw new IOException("[" + from + "] could not be renamed to " + to);
    }
  }

  /** Puts the finished output in the target's place. Nothing is left but the target. */
  public void commit(Configuration configuration) throws IOException {
    if (direct) {
      return;
    }
    FileSystem files = fileSystem(new Path(target), configuration);
    checkTarget(files);
    Path path = new Path(target);
    Path made = folder ? model() : files.listStatus(model())[0].getPath();
    Path aside = new Path(work.replaceFirst("\\.work$", ".old"));
    boolean replaces = files.exists(path);
    if (replaces) {
      rename(files, path, aside);
    }
    try {
      rename(files, made, path);
    } catch (IOException e) {
      if (replaces) {
        rename(files, aside, path);
      }
      throw e;
    }
    files.delete(new Path(work), true);
    if (replaces) {
      files.delete(aside, true);
    }
  }

  /**
   * Deletes what was written so far.
   *
   * @param names the files of the output
   * @param why why it is given up; gets what goes wrong meanwhile as suppressed
   */
  public void discard(List<String> names, Throwable why, Configuration configuration) {
    try {
      FileSystem files = fileSystem(new Path(target), configuration);
      if (!direct) {
        files.delete(new Path(work), true);
        return;
      }
      for (String name : names) {
        files.delete(place(name), false);
      }
    } catch (IOException | RuntimeException e) {
      why.addSuppressed(e);
    }
  }
}
