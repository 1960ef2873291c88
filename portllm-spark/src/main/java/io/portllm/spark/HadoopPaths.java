package io.portllm.spark;

import io.portllm.spark.internal.hadoop.HadoopFiles;
import java.io.IOException;
import java.net.URI;
import java.nio.file.Path;
import java.util.Objects;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.LocalFileSystem;
import org.apache.hadoop.fs.RawLocalFileSystem;

/**
 * Paths on Hadoop's file systems, HDFS and S3A among them, for reading models without copying them first.
 *
 * <p>{@snippet :
 * Path folder = HadoopPaths.of("s3a://models/llama-3.1-8b", new Configuration());
 * try (ModelVersion model = Checkpoints.open(folder)) {
 *   System.out.println(Fingerprint.of(model).digest());
 * }
 * }
 */
public final class HadoopPaths {
  private HadoopPaths() {}

  /**
   * The path at {@code location}. Nothing is read yet.
   *
   * <p>Files are read by position, by many threads at once. Paths can only be read: outputs go through {@link SparkPorts}. On this
   * machine's disks ({@code file:}) the path is an ordinary one.
   *
   * @param location such as {@code s3a://bucket/folder}, {@code hdfs://host/folder} or {@code file:/folder}; without a scheme it lies on
   *     the default file system of {@code configuration}
   * @param configuration which file systems there are and how they are reached
   * @throws IOException if there is no file system for the scheme, or it could not be reached
   */
  public static Path of(String location, Configuration configuration) throws IOException {
    org.apache.hadoop.fs.Path path = new org.apache.hadoop.fs.Path(Objects.requireNonNull(location, "location"));
    FileSystem files = path.getFileSystem(configuration);
    org.apache.hadoop.fs.Path qualified = files.makeQualified(path);
    if (files instanceof LocalFileSystem || files.getClass() == RawLocalFileSystem.class) {
      return Path.of(URI.create("file:///")).resolve(qualified.toUri().getPath());
    }
    return new HadoopFiles(files).getPath(qualified.toUri().getPath());
  }
}
