package io.portllm.docs;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Pastes pages: their commands and their Java, on the demo's models under the names that the pages give to models. */
class PastedPagesTest {
  private static final Map<String, String> NAMES = Map.of(
      "llama-3-8b", "v1", "llama-3.1-8b", "v2", "llama-3.2-8b", "v3", "my-clinic-8b", "climbs-full", "my-lora", "climbs-lora");

  @TempDir
  static Path tutorial;

  private static String transcript;

  @BeforeAll
  static void pasteTheTutorial() throws Exception {
    transcript = paste(tutorial, "docs/tutorial/first-port.md", 0);
  }

  @Test
  void theTutorialWorksAsWritten() {
    assertTrue(transcript.endsWith("steps: 10\n"), transcript);
    assertTrue(Files.isRegularFile(tutorial.resolve("my-port-from-java/model.safetensors")));
  }

  @ParameterizedTest
  @CsvSource({
    "README.md, 1",
    "docs/how-to/port-a-lora.md, 5",
    "docs/how-to/port-a-full-tune.md, 5",
    "docs/how-to/undo.md, 4",
    "docs/how-to/several-tenants.md, 3",
  })
  void thePageWorksAsWritten(String page, int steps, @TempDir Path folder) throws Exception {
    layOut(folder);
    String printed = page.equals("README.md") ? paste(folder, page, 0, "java") : paste(folder, page, 0);
    assertTrue(printed.endsWith("steps: " + steps + "\n"), printed);
  }

  @Test
  void verifyingWorksAsWritten(@TempDir Path folder) throws Exception {
    copy(tutorial.resolve("my-port"), folder.resolve("my-clinic-8b-on-3.1"));
    String printed = paste(folder, "docs/how-to/verify.md", 0);
    assertTrue(printed.endsWith("steps: 4\n"), printed);
  }

  @Test
  void aPageThatSaysSomethingElseFails(@TempDir Path folder) throws Exception {
    Path repository = Files.createDirectories(folder.resolve("repository/docs")).getParent();
    String page = Files.readString(DocumentationTest.REPOSITORY.resolve("docs/how-to/verify.md"));
    Files.writeString(repository.resolve("docs/page.md"), page.replace("verify my-clinic", "verify no-clinic"));
    copy(tutorial.resolve("my-port"), folder.resolve("my-clinic-8b-on-3.1"));
    assertTrue(paste(repository, folder, 1, "docs/page.md").contains("exit code 1"));

    Files.writeString(repository.resolve("docs/page.md"),
        "```\njava -jar portllm.jar verify my-clinic-8b-on-3.1\n```\n\n```\nmy-port is as it was written\n```\n");
    assertTrue(paste(repository, folder, 1, "docs/page.md").contains("but this was printed"));
  }

  private static void layOut(Path folder) throws IOException {
    for (Map.Entry<String, String> name : NAMES.entrySet()) {
      copy(tutorial.resolve("lab").resolve(name.getValue()), folder.resolve(name.getKey()));
    }
    Files.createDirectories(folder.resolve("models"));
    Files.createDirectories(folder.resolve("patches"));
    Files.copy(tutorial.resolve("climbs.patch.safetensors"), folder.resolve("patches/clinic.patch.safetensors"));
  }

  private static void copy(Path from, Path to) throws IOException {
    Files.createDirectories(to);
    try (Stream<Path> files = Files.list(from)) {
      for (Path file : files.toList()) {
        Files.copy(file, to.resolve(file.getFileName()));
      }
    }
  }

  private static String paste(Path folder, String page, int exitCode, String... more) throws Exception {
    List<String> arguments = new ArrayList<>(List.of(page));
    arguments.addAll(List.of(more));
    return paste(DocumentationTest.REPOSITORY, folder, exitCode, arguments.toArray(new String[0]));
  }

  private static String paste(Path repository, Path folder, int exitCode, String... arguments) throws Exception {
    List<String> command = new ArrayList<>(List.of(
        Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-Xmx512m", "-XX:+UseSerialGC",
        "-cp", System.getProperty("java.class.path"), PageRunner.class.getName(), repository.toString()));
    command.addAll(List.of(arguments));
    Path log = Files.createTempFile(folder, "pasted", ".log");
    Process process = new ProcessBuilder(command).directory(folder.toFile()).redirectErrorStream(true).redirectOutput(log.toFile()).start();
    int ended = process.waitFor();
    String printed = Files.readString(log);
    assertEquals(exitCode, ended, printed);
    return printed;
  }
}
