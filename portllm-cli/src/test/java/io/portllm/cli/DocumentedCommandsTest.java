package io.portllm.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import picocli.CommandLine;

/** Every command line in the documentation is one that the command understands. */
class DocumentedCommandsTest {
  private static final Path REPOSITORY = Path.of("..");
  private static final Pattern COMMAND = Pattern.compile("^(?:\\s*\\$)?\\s*(?:java -jar \\S*portllm\\.jar|portllm) ([a-z]+ .*)$");

  private static final Pattern WORD = Pattern.compile("(?:'[^']*'|\"[^\"]*\"|[^\\s'\"])+");

  private record Line(String page, String text) {}

  private static List<Line> lines() throws IOException {
    List<Line> lines = new ArrayList<>();
    try (Stream<Path> docs = Files.walk(REPOSITORY.resolve("docs"))) {
      Stream<Path> pages = docs.filter(each -> each.toString().endsWith(".md"));
      for (Path page : Stream.concat(Stream.of(REPOSITORY.resolve("README.md")), pages).toList()) {
        for (String line : Files.readString(page).replaceAll("\\\\\\R\\s*", "").lines().toList()) {
          Matcher command = COMMAND.matcher(line);
          if (command.matches()) {
            lines.add(new Line(REPOSITORY.relativize(page).toString(), command.group(1)));
          }
        }
      }
    }
    return lines;
  }

  /**
   * As a shell takes it apart, without comments, redirections and what comes after; … stands for more of the same. Models of the hub's cache
   * are looked up as they are read, and are not there.
   */
  private static String[] words(String text) {
    String command = text.replaceAll("\\s+(#|\\|\\||>).*", "").replace("…", "").replace("hf:", "");
    return WORD.matcher(command).results().map(word -> word.group().replaceAll("['\"]", "")).toArray(String[]::new);
  }

  private static void parse(String text) {
    Main.commandLine().parseArgs(words(text));
  }

  @Test
  void everyCommandLineIsUnderstood() throws IOException {
    List<Line> lines = lines();
    List<String> wrong = new ArrayList<>();
    for (Line line : lines) {
      try {
        parse(line.text());
      } catch (CommandLine.ParameterException e) {
        if (!line.text().contains("…")) {
          wrong.add(line.page() + ": " + line.text() + ": " + e.getMessage());
        }
      }
    }
    assertEquals(List.of(), wrong);
    assertTrue(lines.size() > 40, "only " + lines.size() + " command lines found");
  }

  @Test
  void staleOptionsAreFound() {
    parse("diff --fine-tuned ft --base b -o p --only 'a b' --bits 4 # small");
    assertThrows(CommandLine.UnmatchedArgumentException.class, () -> parse("diff --fine-tuned ft --base b -o p --nibbles 4"));
    assertThrows(CommandLine.MissingParameterException.class, () -> parse("port --fine-tuned ft --onto n -o out"));
  }
}
