package io.portllm.spark.internal.hadoop;

import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileTime;
import org.apache.hadoop.fs.EtagSource;
import org.apache.hadoop.fs.FileStatus;

/**
 * What Hadoop tells of a file.
 *
 * @param size in bytes
 * @param lastModifiedTime to the millisecond, or as the file system has it
 * @param isRegularFile whether it is a file
 * @param fileKey the object's tag on stores that have them, which tells one content from another; null elsewhere
 */
record HadoopAttributes(long size, FileTime lastModifiedTime, boolean isRegularFile, Object fileKey) implements BasicFileAttributes {
  static HadoopAttributes of(FileStatus status) {
    Object key = status instanceof EtagSource source ? source.getEtag() : null;
    return new HadoopAttributes(status.getLen(), FileTime.fromMillis(status.getModificationTime()), status.isFile(), key);
  }

  @Override
  public boolean isDirectory() {
    return !isRegularFile;
  }

  @Override
  public boolean isSymbolicLink() {
    return false;
  }

  @Override
  public boolean isOther() {
    return false;
  }

  @Override
  public FileTime lastAccessTime() {
    return lastModifiedTime;
  }

  @Override
  public FileTime creationTime() {
    return lastModifiedTime;
  }
}
