package io.portllm.spark.internal.hadoop;

import java.io.IOException;
import java.net.URI;
import java.nio.file.FileStore;
import java.nio.file.FileSystem;
import java.nio.file.Path;
import java.nio.file.PathMatcher;
import java.nio.file.WatchService;
import java.nio.file.attribute.UserPrincipalLookupService;
import java.util.List;
import java.util.Set;

/** A Hadoop file system as one of {@code java.nio.file}, for reading. Closing it does nothing: Hadoop caches and closes its own. */
public final class HadoopFiles extends FileSystem {
  private final org.apache.hadoop.fs.FileSystem files;
  private final URI root;
  private final HadoopProvider provider = new HadoopProvider();

  /** The file system under a wrapper; {@code files} stays the caller's. */
  public HadoopFiles(org.apache.hadoop.fs.FileSystem files) {
    this.files = files;
    String authority = files.getUri().getAuthority();
    this.root = URI.create(files.getUri().getScheme() + "://" + (authority == null ? "" : authority) + "/");
  }

  org.apache.hadoop.fs.FileSystem hadoop() {
    return files;
  }

  /** The scheme and the authority, ending in a slash. */
  URI root() {
    return root;
  }

  @Override
  public Path getPath(String first, String... more) {
    return HadoopPath.of(this, more.length == 0 ? first : first + "/" + String.join("/", more));
  }

  @Override
  public HadoopProvider provider() {
    return provider;
  }

  @Override
  public void close() {}

  @Override
  public boolean isOpen() {
    return true;
  }

  @Override
  public boolean isReadOnly() {
    return true;
  }

  @Override
  public String getSeparator() {
    return "/";
  }

  @Override
  public Iterable<Path> getRootDirectories() {
    return List.of(getPath("/"));
  }

  @Override
  public Iterable<FileStore> getFileStores() {
    return List.of();
  }

  @Override
  public Set<String> supportedFileAttributeViews() {
    return Set.of("basic");
  }

  @Override
  public PathMatcher getPathMatcher(String pattern) {
    throw new UnsupportedOperationException("patterns of paths");
  }

  @Override
  public UserPrincipalLookupService getUserPrincipalLookupService() {
    throw new UnsupportedOperationException("users");
  }

  @Override
  public WatchService newWatchService() throws IOException {
    throw new UnsupportedOperationException("watching");
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof HadoopFiles system && system.files == files;
  }

  @Override
  public int hashCode() {
    return System.identityHashCode(files);
  }

  @Override
  public String toString() {
    return root.toString();
  }
}
