package io.portllm.io.write;

import com.google.common.hash.Hashing;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;

/** What is in a folder. */
public final class Trees {
  private Trees() {}

  /** All files below {@code root}, hidden ones too, with their lengths and digests; folders with nothing. */
  public static Map<String, String> contents(Path root) throws IOException {
    Map<String, String> found = new TreeMap<>();
    try (Stream<Path> paths = Files.walk(root)) {
      for (Path path : (Iterable<Path>) paths::iterator) {
        if (Files.isRegularFile(path)) {
          byte[] bytes = Files.readAllBytes(path);
          found.put(root.relativize(path).toString(), bytes.length + " " + Hashing.sha256().hashBytes(bytes));
        } else if (!path.equals(root)) {
          found.put(root.relativize(path).toString(), "");
        }
      }
    }
    return found;
  }

  /** The names directly in {@code folder}, sorted. */
  public static List<String> names(Path folder) throws IOException {
    try (Stream<Path> paths = Files.list(folder)) {
      return paths.map(path -> path.getFileName().toString()).sorted().toList();
    }
  }

  /** The files below {@code root} that this process has open, or none where the system does not tell. */
  public static List<String> openFiles(Path root) throws IOException {
    Path handles = Path.of("/proc/self/fd");
    if (!Files.isDirectory(handles)) {
      return List.of();
    }
    String start = root.toRealPath().toString();
    try (Stream<Path> paths = Files.list(handles)) {
      return paths.map(Trees::target).filter(target -> target.startsWith(start)).sorted().toList();
    }
  }

  private static String target(Path handle) {
    try {
      return Files.readSymbolicLink(handle).toString();
    } catch (NoSuchFileException e) {
      return "";
    } catch (IOException e) {
      return e.toString();
    }
  }
}
