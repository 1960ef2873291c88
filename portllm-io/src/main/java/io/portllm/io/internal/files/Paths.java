package io.portllm.io.internal.files;

import io.portllm.internal.text.Names;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;

/** What messages and checks need of paths. */
public final class Paths {
  private Paths() {}

  /** The path in brackets, as messages begin. */
  public static String prefix(Path file) {
    return "[" + shown(file.toString()) + "] ";
  }

  /** The text escaped and shortened, without quotes. */
  public static String shown(String text) {
    String quoted = Names.quote(text);
    return quoted.substring(1, quoted.endsWith("'") ? quoted.length() - 1 : quoted.length());
  }

  /**
   * The attributes of a regular file, links followed. Asked before a file is opened, because opening a pipe waits for its writer.
   *
   * @throws IOException if there is no such file, or it is a folder, a pipe or a device
   */
  public static BasicFileAttributes regularFile(Path file) throws IOException {
    BasicFileAttributes attributes = Files.readAttributes(file, BasicFileAttributes.class);
    if (!attributes.isRegularFile()) {
      throw new IOException(prefix(file) + "is " + (attributes.isDirectory() ? "a folder" : "a pipe or device") + ", not a file");
    }
    return attributes;
  }
}
