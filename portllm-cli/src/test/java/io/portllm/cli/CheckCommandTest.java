package io.portllm.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import picocli.CommandLine;

/** {@code portllm check} as a user runs it, on the demo's models. */
class CheckCommandTest {
  @TempDir private Path folder;

  private record Result(int exitCode, String out, String err) {}

  private static Result run(Object... arguments) {
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    CommandLine command = Main.commandLine().setOut(new PrintWriter(out)).setErr(new PrintWriter(err, true));
    int exitCode = command.execute(Arrays.stream(arguments).map(Object::toString).toArray(String[]::new));
    return new Result(exitCode, out.toString(), err.toString());
  }

  private static Path model(String name) {
    try {
      return Path.of(Main.class.getResource("demo/models/" + name).toURI());
    } catch (URISyntaxException e) {
      throw new AssertionError(e);
    }
  }

  @ParameterizedTest
  @CsvSource({"v1, 0, PORT", "v2, 0, PORT", "v3, 0, PORT", "independent, 4, DO_NOT_PORT"})
  void theExitCodeOfAPatchFileIsItsVerdict(String onto, int exitCode, String verdict) {
    Path patch = folder.resolve("p.patch.safetensors");
    run("diff", "--adapter", model("climbs-lora"), "--base", model("v1"), "-o", patch);

    Result result = run("check", patch, "--to", model(onto));

    assertEquals(exitCode, result.exitCode(), result.err());
    assertTrue(result.out().startsWith(verdict + " (confidence: "), result.out());
  }

  @Test
  void theSameIsSaidOfAnAdapterWithItsBase() {
    assertEquals(0, run("check", model("climbs-lora"), "--base", model("v1"), "--to", model("v2")).exitCode());
    assertEquals(0, run("check", "--adapter", model("climbs-lora"), "--base", model("v1"), "--to", model("v2")).exitCode());
    assertEquals(4, run("check", model("climbs-lora"), "--base", model("v1"), "--to", model("independent")).exitCode());
  }

  @Test
  void aPatchThatTheUpdateOutweighsIsToBeTuned() {
    Result result = run("check", "--fine-tuned", model("climbs-full"), "--base", model("v1"), "--to", model("v2"));

    assertEquals(3, result.exitCode(), result.err());
    assertTrue(result.out().contains("outweighs"), result.out());
  }

  @Test
  void withoutItsBaseAnAdapterIsNotJudged() {
    Result result = run("check", model("climbs-lora"), "--to", model("v2"));

    assertEquals(3, result.exitCode(), result.err());
    assertTrue(result.out().contains("nothing is known of the old weights"), result.out());
  }

  @Test
  void withoutSketchesThePatchFileNeedsTheBase() throws IOException {
    Path with = folder.resolve("with.safetensors");
    Path without = folder.resolve("without.safetensors");
    run("diff", "--adapter", model("climbs-lora"), "--base", model("v1"), "-o", with);
    run("diff", "--adapter", model("climbs-lora"), "--base", model("v1"), "-o", without, "--no-sketches");

    assertTrue(Files.size(with) - Files.size(without) < 39 * 8_300);
    assertEquals(3, run("check", without, "--to", model("v2")).exitCode());
    assertEquals(0, run("check", without, "--base", model("v1"), "--to", model("v2")).exitCode());
  }

  @Test
  void jsonGoesToAFileBesideTheTextOrToTheOutput() throws IOException {
    Path json = folder.resolve("report.json");
    Object[] check = {"check", model("climbs-lora"), "--base", model("v1"), "--to", model("v2"), "--json", json};

    assertEquals(0, run(check).exitCode());
    JsonNode report = new ObjectMapper().readTree(json.toFile());
    assertEquals("PORT", report.get("verdict").asText());
    assertEquals(39, report.get("tensors").size());
    assertEquals(1, run(check).exitCode());
    assertTrue(run(check).err().contains("(--force overwrites)"), run(check).err());

    Result printed = run("check", model("climbs-lora"), "--base", model("v1"), "--to", model("v2"), "--json", "-");
    assertEquals(report, new ObjectMapper().readTree(printed.out()));
  }

  @Test
  void thePageIsWrittenBesideTheText() throws IOException {
    Path one = folder.resolve("one.html");
    Path again = folder.resolve("again.html");
    Path chain = folder.resolve("chain.html");
    Object[] check = {"check", model("climbs-lora"), "--base", model("v1"), "--to", model("v2"), "--html"};

    assertEquals(0, run(with(check, one)).exitCode());
    assertEquals(0, run(with(check, again, "--threads", 1)).exitCode());
    assertEquals(0, run(with(check, chain, "--to", model("v3"))).exitCode());

    String page = Files.readString(one);
    String fingerprint = run("info", model("v2")).out().replaceAll("(?s).*\\b([0-9a-f]{64})\\b.*", "$1");
    assertTrue(page.contains("<code>" + fingerprint + "</code>"), fingerprint);
    assertTrue(page.contains("score 0.939 on a scale"), page);
    assertEquals(page, Files.readString(again));
    assertTrue(Files.readString(chain).contains("Release after release"));
    assertEquals(1, run(with(check, one)).exitCode());
    assertEquals(0, run(with(check, one, "--force")).exitCode());
  }

  @Test
  void thePageOfAPatchFileHasTheFingerprintThatItRemembers() throws IOException {
    Path patch = folder.resolve("p.patch.safetensors");
    Path page = folder.resolve("page.html");
    run("diff", "--adapter", model("climbs-lora"), "--base", model("v1"), "-o", patch);

    assertEquals(0, run("check", patch, "--to", model("v2"), "--html", page).exitCode());

    String fingerprint = run("info", model("v1")).out().replaceAll("(?s).*\\b([0-9a-f]{64})\\b.*", "$1");
    assertTrue(Files.readString(page).contains("<code>" + fingerprint + "</code>"), fingerprint);
    assertTrue(Files.readString(page).contains("judged by the sketches"));
  }

  private static Object[] with(Object[] arguments, Object... more) {
    return Stream.concat(Arrays.stream(arguments), Arrays.stream(more)).toArray();
  }

  @Test
  void reportsAreTheSameWhateverTheThreads() {
    String[] texts = new String[2];
    for (int i = 0; i < 2; i++) {
      Object[] check = {"check", model("climbs-lora"), "--base", model("v1"), "--to", model("v2"), "--threads", 1 + 2 * i, "--json", "-"};
      texts[i] = run(check).out();
    }
    assertEquals(texts[0], texts[1]);
    assertFalse(texts[0].isEmpty());
  }

  @Test
  void releasesAreJudgedOneAfterTheOther() throws IOException {
    Object[] check = {
      "check", model("climbs-lora"), "--base", model("v1"), "--to", model("v2"), "--to", model("v3"), "--to", model("independent")
    };
    Result result = run(check);

    assertEquals(4, result.exitCode(), result.err());
    assertEquals(5, result.out().lines().count());
    assertTrue(result.out().contains("the trend turns at 'independent': DO_NOT_PORT"), result.out());
    JsonNode json = new ObjectMapper().readTree(run(Stream.concat(Arrays.stream(check), Stream.of("--json", "-")).toArray()).out());
    assertEquals(2, json.get("turn").asInt());
    assertEquals("v3", json.get("reports").get(1).get("newBase").asText());
  }

  @Test
  void wrongUsageIsToldApart() {
    assertEquals(2, run("check", "--to", model("v2")).exitCode());
    assertEquals(2, run("check", "--fine-tuned", model("climbs-full"), "--to", model("v2")).exitCode());
    assertEquals(2, run("check", model("climbs-lora"), "--adapter", model("climbs-lora"), "--to", model("v2")).exitCode());
    assertEquals(1, run("check", folder.resolve("nothing"), "--to", model("v2")).exitCode());
  }
}
