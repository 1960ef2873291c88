package io.portllm.spark.internal.hadoop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.nio.file.FileSystems;
import java.nio.file.Path;
import java.nio.file.ProviderMismatchException;
import java.util.List;
import org.apache.hadoop.fs.RawLocalFileSystem;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Paths on Hadoop's file systems do as the JDK's paths do. */
class HadoopPathTest {
  private static final List<String> SPELLINGS =
      List.of("/", "/a", "/a/b/c", "a", "a/b", "a/b/c", "..", "../a", "/../a", "/a/../b/./c", "a/../../b", "./a", "/a/b/..", "b/c", "c");

  private final HadoopFiles files = new HadoopFiles(new RawLocalFileSystem());

  @BeforeEach
  void needsUnixPaths() {
    Assumptions.assumeTrue(FileSystems.getDefault().getSeparator().equals("/"), "compares with the JDK's paths on Unix");
  }

  /** The names without the root. */
  private static String spelled(Path path) {
    return path == null ? null : path.toString().replace("file://", "");
  }

  @Test
  void onePathIsAsTheJdkHasIt() {
    for (String spelling : SPELLINGS) {
      Path ours = files.getPath(spelling);
      Path theirs = Path.of(spelling);
      assertEquals(theirs.toString(), spelled(ours));
      assertEquals(theirs.isAbsolute(), ours.isAbsolute());
      assertEquals(spelled(theirs.getRoot()), spelled(ours.getRoot()));
      assertEquals(spelled(theirs.getParent()), spelled(ours.getParent()), spelling);
      assertEquals(spelled(theirs.getFileName()), spelled(ours.getFileName()));
      assertEquals(theirs.getNameCount(), ours.getNameCount());
      assertEquals(theirs.normalize().toString(), spelled(ours.normalize()), spelling);
      for (int i = 0; i < theirs.getNameCount(); i++) {
        assertEquals(theirs.getName(i).toString(), spelled(ours.getName(i)));
      }
    }
  }

  @Test
  void twoPathsAreAsTheJdkHasThem() {
    for (String first : SPELLINGS) {
      for (String second : SPELLINGS) {
        Path ours = files.getPath(first);
        Path other = files.getPath(second);
        Path theirs = Path.of(first);
        String both = first + " and " + second;
        assertEquals(theirs.resolve(second).toString(), spelled(ours.resolve(other)), both);
        assertEquals(theirs.resolve(second).toString(), spelled(ours.resolve(second)), both);
        assertEquals(theirs.startsWith(second), ours.startsWith(other), both);
        assertEquals(theirs.endsWith(second), ours.endsWith(other), both);
        assertEquals(theirs.equals(Path.of(second)), ours.equals(other), both);
        assertEquals(theirs.resolveSibling(second).toString(), spelled(ours.resolveSibling(other)), both);
        if (ours.isAbsolute() == other.isAbsolute() && !both.contains("..") && !both.contains("./")) {
          assertEquals(theirs.relativize(Path.of(second)).toString(), spelled(ours.relativize(other)), both);
        }
      }
    }
  }

  @Test
  void pathsOfOtherFileSystemsAreRefused() {
    HadoopFiles others = new HadoopFiles(new RawLocalFileSystem());
    assertNotEquals(files.getPath("/a"), others.getPath("/a"));
    assertThrows(ProviderMismatchException.class, () -> files.getPath("/a").resolve(others.getPath("b")));
    assertThrows(ProviderMismatchException.class, () -> files.getPath("/a").resolve(Path.of("b")));
    assertThrows(IllegalArgumentException.class, () -> files.getPath("/a").relativize(files.getPath("b")));
    assertThrows(IllegalArgumentException.class, () -> files.getPath("/a/b").subpath(1, 1));
  }
}
