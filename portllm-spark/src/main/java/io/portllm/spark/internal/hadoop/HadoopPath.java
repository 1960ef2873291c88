package io.portllm.spark.internal.hadoop;

import java.net.URI;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.ProviderMismatchException;
import java.nio.file.WatchEvent;
import java.nio.file.WatchKey;
import java.nio.file.WatchService;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;

/** A path on a Hadoop file system: names, and whether they begin at the root. Immutable. */
final class HadoopPath implements Path {
  private final HadoopFiles files;
  private final boolean absolute;
  private final List<String> names;

  private HadoopPath(HadoopFiles files, boolean absolute, List<String> names) {
    this.files = files;
    this.absolute = absolute;
    this.names = List.copyOf(names);
  }

  /** The path that this text spells, absolute if it begins with a slash. */
  static HadoopPath of(HadoopFiles files, String text) {
    List<String> names = new ArrayList<>();
    for (String name : text.split("/")) {
      if (!name.isEmpty()) {
        names.add(name);
      }
    }
    return new HadoopPath(files, text.startsWith("/"), names);
  }

  /** This path as Hadoop names it. */
  org.apache.hadoop.fs.Path hadoop() {
    URI root = files.root();
    return new org.apache.hadoop.fs.Path(root.getScheme(), root.getAuthority(), toAbsolutePath().normalize().spelled());
  }

  private String spelled() {
    return (absolute ? "/" : "") + String.join("/", names);
  }

  /** {@code other}, which must be one of the same file system's. */
  HadoopPath require(Path other) {
    if (other instanceof HadoopPath path && path.files.equals(files)) {
      return path;
    }
    throw new ProviderMismatchException(other + " is no path of " + files);
  }

  @Override
  public HadoopFiles getFileSystem() {
    return files;
  }

  @Override
  public boolean isAbsolute() {
    return absolute;
  }

  @Override
  public HadoopPath getRoot() {
    return absolute ? new HadoopPath(files, true, List.of()) : null;
  }

  @Override
  public HadoopPath getFileName() {
    return names.isEmpty() ? null : getName(names.size() - 1);
  }

  @Override
  public HadoopPath getParent() {
    if (names.isEmpty() || names.size() == 1 && !absolute) {
      return null;
    }
    return new HadoopPath(files, absolute, names.subList(0, names.size() - 1));
  }

  @Override
  public int getNameCount() {
    return names.size();
  }

  @Override
  public HadoopPath getName(int index) {
    return subpath(index, index + 1);
  }

  @Override
  public HadoopPath subpath(int begin, int end) {
    if (begin < 0 || end > names.size() || begin >= end) {
      throw new IllegalArgumentException("no names " + begin + " to " + end + " in " + this);
    }
    return new HadoopPath(files, false, names.subList(begin, end));
  }

  @Override
  public boolean startsWith(Path other) {
    return other instanceof HadoopPath path
        && path.files.equals(files)
        && path.absolute == absolute
        && path.names.size() <= names.size()
        && names.subList(0, path.names.size()).equals(path.names);
  }

  @Override
  public boolean endsWith(Path other) {
    return other instanceof HadoopPath path
        && path.files.equals(files)
        && (path.absolute ? equals(path) : path.names.size() <= names.size()
            && names.subList(names.size() - path.names.size(), names.size()).equals(path.names));
  }

  @Override
  public HadoopPath normalize() {
    List<String> kept = new ArrayList<>();
    for (String name : names) {
      boolean up = name.equals("..");
      if (up && !kept.isEmpty() && !kept.get(kept.size() - 1).equals("..")) {
        kept.remove(kept.size() - 1);
      } else if (!name.equals(".") && !(up && absolute)) {
        kept.add(name);
      }
    }
    return new HadoopPath(files, absolute, kept);
  }

  @Override
  public HadoopPath resolve(Path other) {
    HadoopPath path = require(other);
    if (path.absolute) {
      return path;
    }
    List<String> all = new ArrayList<>(names);
    all.addAll(path.names);
    return new HadoopPath(files, absolute, all);
  }

  @Override
  public HadoopPath relativize(Path other) {
    HadoopPath path = require(other);
    if (path.absolute != absolute) {
      throw new IllegalArgumentException("one of " + this + " and " + other + " is absolute, the other is not");
    }
    int common = 0;
    while (common < names.size() && common < path.names.size() && names.get(common).equals(path.names.get(common))) {
      common++;
    }
    List<String> way = new ArrayList<>();
    for (int i = common; i < names.size(); i++) {
      way.add("..");
    }
    way.addAll(path.names.subList(common, path.names.size()));
    return new HadoopPath(files, false, way);
  }

  @Override
  public URI toUri() {
    return hadoop().toUri();
  }

  @Override
  public HadoopPath toAbsolutePath() {
    return absolute ? this : new HadoopPath(files, true, names);
  }

  /** Hadoop's file systems do not tell of links. */
  @Override
  public HadoopPath toRealPath(LinkOption... options) {
    return toAbsolutePath().normalize();
  }

  @Override
  public WatchKey register(WatchService watcher, WatchEvent.Kind<?>[] events, WatchEvent.Modifier... modifiers) {
    throw new UnsupportedOperationException("watching " + this);
  }

  @Override
  public int compareTo(Path other) {
    return toString().compareTo(require(other).toString());
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof HadoopPath path && path.files.equals(files) && path.absolute == absolute && path.names.equals(names);
  }

  @Override
  public int hashCode() {
    return Objects.hash(absolute, names);
  }

  /** As Hadoop's commands take it: with its scheme and authority if it is absolute. */
  @Override
  public String toString() {
    String root = files.root().toString();
    return absolute ? (root.endsWith("/") ? root.substring(0, root.length() - 1) : root) + spelled() : spelled();
  }
}
