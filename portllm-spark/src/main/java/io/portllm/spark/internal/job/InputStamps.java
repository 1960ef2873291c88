package io.portllm.spark.internal.job;

import io.portllm.internal.text.Names;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileTime;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.Map;

/** What the files that a job reads were when it was planned. Tasks open them later, each for itself. */
final class InputStamps {
  /** What tells a file from what is in its place later. */
  private record Stamp(long size, FileTime modified, Object key) {
    static Stamp of(Path file) throws IOException {
      BasicFileAttributes attributes = Files.readAttributes(file, BasicFileAttributes.class);
      return new Stamp(attributes.size(), attributes.lastModifiedTime(), attributes.fileKey());
    }
  }

  private final Map<Path, Stamp> stamps = new LinkedHashMap<>();

  /** Takes down what these files are now. */
  InputStamps(Collection<Path> files) throws IOException {
    for (Path file : files) {
      stamps.put(file, Stamp.of(file));
    }
  }

  /**
   * Checks that the files are what they were.
   *
   * @throws IOException naming the first that is not
   */
  void verify() throws IOException {
    for (Map.Entry<Path, Stamp> entry : stamps.entrySet()) {
      Stamp now;
      try {
        now = Stamp.of(entry.getKey());
      } catch (NoSuchFileException e) {
        throw new IOException("[" + shown(entry.getKey()) + "] is gone since the job began", e);
      }
      if (!now.equals(entry.getValue())) {
        throw new IOException("[" + shown(entry.getKey()) + "] changed since the job began");
      }
    }
  }

  private static String shown(Path file) {
    String quoted = Names.quote(file.toString());
    return quoted.substring(1, quoted.length() - 1);
  }
}
