package io.portllm.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

/** Models named as on the hub. */
class HubPathTest {
  @TempDir private Path cache;

  private record Result(int exitCode, String text) {}

  /** Runs the command as a process of its own, whose environment names the cache. */
  private Result run(String... arguments) throws IOException, InterruptedException {
    String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
    List<String> line = new ArrayList<>(List.of(java, "-cp", System.getProperty("java.class.path"), Main.class.getName()));
    line.addAll(List.of(arguments));
    ProcessBuilder builder = new ProcessBuilder(line).redirectErrorStream(true);
    builder.environment().put("HF_HUB_CACHE", cache.toString());
    Process process = builder.start();
    process.getOutputStream().close();
    String text = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertTrue(process.waitFor(60, TimeUnit.SECONDS));
    return new Result(process.exitValue(), text);
  }

  private Path download(String name) throws IOException, URISyntaxException {
    Path repository = cache.resolve("models--acme--" + name);
    Path snapshot = Files.createDirectories(repository.resolve("snapshots/c0ffee"));
    Files.createDirectories(repository.resolve("refs"));
    Files.writeString(repository.resolve("refs/main"), "c0ffee");
    try (var files = Files.list(Path.of(Main.class.getResource("demo/models/" + name).toURI()))) {
      for (Path file : files.toList()) {
        Files.copy(file, snapshot.resolve(file.getFileName().toString()));
      }
    }
    return snapshot;
  }

  @Test
  void aModelOfTheCacheIsReadAndNothingIsWrittenThere() throws Exception {
    Path snapshot = download("v1");
    for (String name : List.of("hf:acme/v1", "hf:acme/v1@main", "hf:acme/v1@c0ffee")) {
      Result info = run("info", "--no-fingerprint", name);
      assertEquals(0, info.exitCode(), info.text());
      assertTrue(info.text().contains("model " + snapshot), info.text());
    }
    String model = "hf:acme/v1";
    Result refused = run("port", "--fine-tuned", model, "--base", model, "--onto", model, "--force", "-o", model);
    assertEquals(2, refused.exitCode(), refused.text());
    assertTrue(refused.text().contains("--output must be a path: nothing is written to the Hugging Face cache"), refused.text());
  }

  @Test
  void aModelThatIsNotInTheCacheIsNoMisuseAndABadNameIs() {
    StringWriter err = new StringWriter();
    CommandLine command = Main.commandLine().setErr(new PrintWriter(err, true));
    assertEquals(1, command.execute("info", "hf:portllm-tests/not-there@v1"));
    assertEquals(1, err.toString().lines().count(), err.toString());
    assertTrue(err.toString().contains("does not hold 'portllm-tests/not-there' at revision 'v1'"), err.toString());
    assertEquals(2, command.execute("info", "hf:a/b/c"));
  }
}
