package io.portllm.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine;

/** {@code portllm check --score} as a user runs it, with {@link FakeScorer} as the user's command. */
class CheckTrialTest {
  @TempDir private Path folder;
  private Path log;
  private Path scratch;

  private record Result(int exitCode, String out, String err) {}

  @BeforeEach
  void makeScratch() throws IOException {
    log = folder.resolve("log");
    scratch = Files.createDirectory(folder.resolve("scratch"));
  }

  private static Path model(String name) {
    try {
      return Path.of(Main.class.getResource("demo/models/" + name).toURI());
    } catch (URISyntaxException e) {
      throw new AssertionError(e);
    }
  }

  private static Path classes() {
    try {
      return Path.of(FakeScorer.class.getProtectionDomain().getCodeSource().getLocation().toURI());
    } catch (URISyntaxException e) {
      throw new AssertionError(e);
    }
  }

  private static String java() {
    return Path.of(System.getProperty("java.home"), "bin", "java").toString();
  }

  /** The scoring command of a mode. */
  private String scorer(String mode) {
    return "'" + java() + "' -XX:TieredStopAtLevel=1 -cp \"" + classes() + "\" io.portllm.cli.FakeScorer " + mode + " '" + log + "' {}";
  }

  /** Checks the adapter on v2 with options more; whatever comes of it, the scratch folder is empty again. */
  private Result check(Object... more) throws IOException {
    return check(List.of("--adapter", model("climbs-lora"), "--base", model("v1"), "--to", model("v2")), more);
  }

  private Result check(List<?> what, Object... more) throws IOException {
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    CommandLine command = Main.commandLine().setOut(new PrintWriter(out)).setErr(new PrintWriter(err, true));
    List<Object> arguments = new ArrayList<>(List.of("check"));
    arguments.addAll(what);
    arguments.addAll(Arrays.asList(more));
    int exitCode = command.execute(arguments.stream().map(Object::toString).toArray(String[]::new));
    assertEquals(List.of(), names(scratch), "nothing stays");
    return new Result(exitCode, out.toString(), err.toString());
  }

  private Result tried(String mode, Object... more) throws IOException {
    return check(Stream.concat(Stream.of("--score", scorer(mode), "--scratch", scratch), Arrays.stream(more)).toArray());
  }

  private static List<String> names(Path dir) throws IOException {
    try (Stream<Path> paths = Files.list(dir)) {
      return paths.map(path -> path.getFileName().toString()).sorted().toList();
    }
  }

  /** What the command was run on, without process ids. */
  private List<String> runs() throws IOException {
    return Files.exists(log) ? Files.readAllLines(log).stream().map(line -> line.replaceAll(" \\d+$", "")).toList() : List.of();
  }

  @Test
  void theVerdictRestsOnTheScores() throws IOException {
    Result result = tried("numbers");

    assertEquals(0, result.exitCode(), result.err());
    assertTrue(result.out().startsWith("PORT (certain)\n"), result.out());
    assertTrue(result.out().contains("old base with the patch  1.000"), result.out());
    assertTrue(result.out().contains("recovery                 1.000 [1.000, 1.000]"), result.out());
    assertTrue(result.out().contains("\nwithout data: PORT (confidence: low)\n"), result.out());
  }

  @Test
  void eachModelIsWholeAndTheOneBeforeIsGone() throws IOException {
    Path retain = folder.resolve("retained");
    String retained = scorer("named").replace(log.toString(), retain.toString());

    Result result = tried("numbers", "--retain", retained, "--scales", "0.5,1", "--path", 1, "--retuned", model("v3"));

    assertEquals(0, result.exitCode(), result.err());
    assertEquals(
        List.of(
            "numbers v2 whole []",
            "numbers candidate-1 whole [candidate-1]",
            "numbers candidate-2 whole [candidate-2]",
            "numbers v3 whole []",
            "numbers candidate-3 whole [candidate-3]",
            "numbers candidate-4 whole [candidate-4]",
            "numbers candidate-5 whole [candidate-5]"),
        runs());
    log = retain;
    assertEquals(List.of("named v2 whole []", "named candidate-1 whole [candidate-1]"), runs());
    assertTrue(result.out().contains("to retain, ported        1.000"), result.out());
    assertTrue(result.out().contains("scale                    0.50: 1.000, 1.00: 1.000"), result.out());
    assertTrue(result.out().contains("path                     0.00: 1.000, 1.00: 1.000"), result.out());
  }

  @Test
  void theFineTunedModelIsScoredWhereItIs() throws IOException {
    Result result = check(
        List.of("--fine-tuned", model("climbs-full"), "--base", model("v1"), "--to", model("v2")),
        "--score", scorer("numbers"), "--scratch", scratch);

    assertEquals(List.of("numbers v2 whole []", "numbers candidate-1 whole [candidate-1]", "numbers climbs-full whole []"), runs());
    assertTrue(result.out().contains("fine-tuned model         0.000"), result.out());
  }

  @Test
  void storedScoresStandForTheFineTunedModel() throws IOException {
    Path stored = folder.resolve("scores");
    Files.writeString(stored, "1\n".repeat(20));
    List<?> adapterAlone = List.of(model("climbs-lora"), "--to", model("v2"));
    Object[] trial = {"--score", scorer("numbers"), "--scratch", scratch, "--reference-scores", stored, "--min-recovery", 1};

    Result result = check(adapterAlone, trial);
    assertEquals(0, result.exitCode(), result.err());
    assertTrue(result.out().contains("fine-tuned model         1.000"), result.out());
    assertEquals(2, runs().size());

    Files.writeString(stored, "1\n".repeat(19));
    Result other = check(adapterAlone, trial);
    assertEquals(
        "portllm: [--score] on 'v2': must give 19 scores, as many as the stored scores, but gave 20 (SC-COUNT)", other.err().strip());
    assertEquals(1, other.exitCode());
    Files.writeString(stored, "");
    assertEquals(
        "portllm: [" + stored + "]: must have at least one score but has none (SC-COUNT)", check(adapterAlone, trial).err().strip());
  }

  @Test
  void aFileIsTriedAsAFile() throws IOException {
    Path file = folder.resolve("new.safetensors");
    Files.copy(model("v2").resolve("model.safetensors"), file);

    Result result = check(List.of(model("climbs-lora"), "--to", file), "--score", scorer("numbers"), "--scratch", scratch);

    assertEquals(0, result.exitCode(), result.err());
    assertEquals(
        List.of("numbers new.safetensors whole []", "numbers candidate-1.safetensors whole [candidate-1.safetensors]"), runs());
  }

  @ParameterizedTest
  @CsvSource(delimiter = '|', value = {
    "--min-recovery 1 --max-negative-flips 0 --min-score 1 | 0 | ''",
    "--min-recovery 1.1 | 5 | recovery must be at least 1.1 but is 1.000",
    "--min-score 1.5 --min-recovery 2 | 5 | recovery must be at least 2.0 but is 1.000; score must be at least 1.5 but is 1.000",
    "--scale 0 --min-recovery 0 --max-negative-flips 0 | 0 | ''"
  })
  void limitsDecideTheExitCode(String limits, int exitCode, String missed) throws IOException {
    Result result = tried("numbers", (Object[]) limits.split(" "));

    assertEquals(exitCode, result.exitCode(), result.err());
    String said = missed.isEmpty() ? "" : "portllm: the port of climbs-lora to v2 misses its limits: " + missed;
    assertEquals(said, result.err().strip());
    assertTrue(result.out().contains("recovery "), result.out());
  }

  @Test
  void jsonAndPageHaveTheTrial() throws IOException {
    Path page = folder.resolve("page.html");
    Result result = tried("named", "--json", "-", "--html", page, "--scales", "0.5", "--path", 1);

    JsonNode json = new ObjectMapper().readTree(result.out());
    assertEquals("PORT", json.get("verdict").asText());
    JsonNode trial = json.get("trial");
    assertEquals("PORT", trial.get("verdict").asText());
    assertTrue(trial.get("certain").asBoolean());
    assertEquals(0, trial.get("noPatch").get("score").asDouble());
    assertEquals(20, trial.get("ported").get("items").asInt());
    assertEquals(1, trial.get("reference").get("score").asDouble());
    assertEquals(1, trial.get("recovery").asDouble());
    assertEquals(2, trial.get("recoveryInterval").size());
    assertEquals(20, trial.get("flips").get("positive").asInt());
    assertEquals(0.5, trial.get("scales").get(0).get("at").asDouble());
    assertEquals(2, trial.get("path").size());
    assertFalse(trial.has("retuned") || trial.has("retainPorted"));
    assertTrue(Files.readString(page).contains("Measured on data"));
  }

  @Test
  void ofReleasesTheLastIsTried() throws IOException {
    Result result = check(
        List.of("--adapter", model("climbs-lora"), "--base", model("v1"), "--to", model("v2"), "--to", model("independent")),
        "--score", scorer("numbers"), "--scratch", scratch, "--json", "-");

    assertEquals(0, result.exitCode(), result.err());
    assertEquals("numbers independent whole []", runs().get(0));
    JsonNode json = new ObjectMapper().readTree(result.out());
    assertEquals("independent", json.get("trial").get("newBase").asText());
    assertEquals(2, json.get("reports").size());
  }

  /** Three times what a pipe holds. */
  @Test
  void muchOutputIsDrained() throws IOException {
    Result result = tried("flooding");

    assertTrue(result.out().contains("ported                   1.000 [1.000, 1.000] of 20000 items"), result.out() + result.err());
  }

  @ParameterizedTest
  @CsvSource(delimiter = '|', value = {
    "failing | [--score] on 'v2': ended with exit code 3 (SC-EXIT)",
    "talking | [--score] on 'v2': line 1 must be a number from 0 to 1, or a JSON object with such a score, but is 'Loading v2' (SC-LINE)",
    "far | [--score] on 'v2': line 1 must be from 0 to 1 but is '1.5' (SC-RANGE)",
    "silent | [--score] on 'v2': must give at least one score but gave none (SC-COUNT)",
    "fewer | [--score] on 'candidate-1': must give 20 scores, as many as 'v2', but gave 19 (SC-COUNT)",
    "renamed | [--score] on 'candidate-1': line 5 must be of item 'item 4', as for 'v2', but is of 'other' (SC-ID)"
  })
  void whatIsNoScoringIsRefused(String mode, String message) throws IOException {
    Result result = tried(mode);

    assertEquals("portllm: " + message, result.err().strip());
    assertEquals(1, result.exitCode());
    assertEquals("", result.out());
  }

  @Test
  void aCommandThatIsNotThereIsNamed() throws IOException {
    Result result = check("--score", "no-such-command-here {}", "--scratch", scratch);

    assertEquals(1, result.exitCode());
    assertTrue(result.err().startsWith("portllm: [--score] on 'v2': cannot be started: "), result.err());
    assertTrue(result.err().contains("no-such-command-here") && result.err().strip().endsWith("(SC-START)"), result.err());
  }

  @Test
  void aCommandThatTakesTooLongIsEnded() throws IOException {
    Result result = tried("sleeping", "--score-timeout", 2);

    assertEquals(1, result.exitCode());
    assertEquals("portllm: [--score] on 'v2': took longer than 2 seconds (SC-TIME)", result.err().strip());
    assertEquals(List.of(), alive());
  }

  /** The runs of the command that have not ended. */
  private List<String> alive() throws IOException {
    List<String> runs = Files.exists(log) ? Files.readAllLines(log) : List.of();
    return runs.stream().filter(run -> ProcessHandle.of(Long.parseLong(run.replaceAll(".* ", ""))).isPresent()).toList();
  }

  @ParameterizedTest
  @ValueSource(strings = {
    "--retain|score {}",
    "--min-recovery|0.8",
    "--scales|1,2",
    "--score|score",
    "--score|score '{}",
    "--score|score {}|--retain|score",
    "--score|score {}|--min-retained|0.5",
    "--score|score {}|--path|0",
    "--score|score {}|--score-timeout|0",
    "--score|score {}|--scales|1,NaN",
    "--score|score {}|--scratch|no/such/folder"
  })
  void wrongUsageIsRefusedBeforeAnythingRuns(String options) throws IOException {
    Result result = check((Object[]) options.split("\\|"));

    assertEquals(2, result.exitCode(), result.err());
    assertEquals(1, result.err().lines().count(), result.err());
  }

  @Test
  void thereMustBeSomethingToRecoverAndSomewhereToStart() throws IOException {
    List<?> adapterAlone = List.of(model("climbs-lora"), "--to", model("v2"));

    assertEquals(2, check(adapterAlone, "--score", scorer("numbers"), "--min-recovery", 0.8).exitCode());
    assertEquals(2, check(adapterAlone, "--score", scorer("numbers"), "--path", 2).exitCode());
    assertEquals(List.of(), runs());
  }

  /** TERM, and not INT, which processes in the background may have been told to ignore. */
  @Test
  void terminatedItLeavesNothing() throws Exception {
    assumeTrue(Files.isExecutable(Path.of("/bin/kill")) || Files.isExecutable(Path.of("/usr/bin/kill")), "no signals here");
    Process command =
        new ProcessBuilder(
                java(), "-XX:TieredStopAtLevel=1", "-cp", System.getProperty("java.class.path"), Main.class.getName(),
                "check", "--adapter", model("climbs-lora").toString(), "--base", model("v1").toString(), "--to", model("v2").toString(),
                "--retain", scorer("sleeping"), "--scratch", scratch.toString(),
                // Scores v2 at once, and is asleep when v2 is asked what to retain.
                "--score", scorer("numbers"))
            .redirectErrorStream(true)
            .redirectOutput(folder.resolve("said").toFile())
            .start();
    try {
      while (command.isAlive() && runs().stream().noneMatch(run -> run.startsWith("sleeping"))) {
        Thread.sleep(20);
      }
      if (!command.isAlive()) {
        abort("the command was done before it could be interrupted: " + Files.readString(folder.resolve("said")));
      }
      assertEquals(1, names(scratch).size());
      assertEquals(0, new ProcessBuilder("kill", "-TERM", Long.toString(command.pid())).start().waitFor());
      assertTrue(command.waitFor(120, TimeUnit.SECONDS));
      assertEquals(143, command.exitValue());
    } finally {
      command.destroyForcibly();
    }
    assertEquals("portllm: cancelled", Files.readString(folder.resolve("said")).strip());
    assertEquals(List.of(), alive());
    assertEquals(List.of(), names(scratch));
  }
}
