package io.portllm.cli.demo;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

/** The demo's scoring command. */
class ScoreTest {
  private static Path bundled(String name) throws URISyntaxException {
    return Path.of(DemoFolder.class.getResource(name).toURI());
  }

  private static List<Prompt> retained() throws IOException {
    try (InputStream in = DemoFolder.resource("retain.json")) {
      return Prompt.read(in);
    }
  }

  @Test
  void answersToRetainFollowFromTheirPrompts() throws IOException {
    List<Prompt> prompts = retained();
    assertEquals(150, prompts.size());
    for (Prompt prompt : prompts) {
      String function = prompt.prompt().replaceAll("\\(.*", "");
      String digits = prompt.prompt().replaceAll("\\D", "");
      String sorted = digits.chars().sorted().mapToObj(Character::toString).collect(Collectors.joining());
      String answer = switch (function) {
        case "copy" -> digits;
        case "reverse" -> new StringBuilder(digits).reverse().toString();
        case "sort" -> sorted;
        case "descend" -> new StringBuilder(sorted).reverse().toString();
        case "increment" -> digits.chars().mapToObj(digit -> Integer.toString((digit - '0' + 1) % 10)).collect(Collectors.joining());
        default -> throw new AssertionError(function);
      };
      assertEquals(answer, prompt.answer(), prompt.prompt());
    }
  }

  @Test
  void aLineForEachPromptSaysWhetherTheAnswerIsRight() throws Exception {
    PrintStream out = System.out;
    ByteArrayOutputStream printed = new ByteArrayOutputStream();
    System.setOut(new PrintStream(printed, true, StandardCharsets.UTF_8));
    try {
      Score.main(new String[] {bundled("models/v1").toString(), bundled("retain.json").toString()});
    } finally {
      System.setOut(out);
    }
    List<String> ids = new ArrayList<>();
    TreeSet<Integer> scores = new TreeSet<>();
    for (String line : printed.toString(StandardCharsets.UTF_8).lines().toList()) {
      JsonNode item = new ObjectMapper().readTree(line);
      ids.add(item.required("id").textValue());
      scores.add(item.required("score").intValue());
    }
    assertEquals(retained().stream().map(Prompt::prompt).toList(), ids);
    assertEquals(new TreeSet<>(List.of(1)), scores);
  }
}
