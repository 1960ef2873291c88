package io.portllm.internal.patch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Random;
import java.util.function.Predicate;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

class GlobTest {
  @Test
  void starsStandForAnyCharactersDotsIncluded() {
    assertTrue(Glob.matches("*", ""));
    assertTrue(Glob.matches("*", "model.norm.weight"));
    assertTrue(Glob.matches("*.mlp.*", "model.layers.0.mlp.up_proj.weight"));
    assertTrue(Glob.matches("model.*weight", "model.weight"));
    assertFalse(Glob.matches("*.mlp.*", "model.mlp"));
    assertTrue(Glob.matches("a**b", "ab"));
  }

  @Test
  void questionMarksStandForOneCharacter() {
    assertTrue(Glob.matches("layers.?.w", "layers.7.w"));
    assertFalse(Glob.matches("layers.?.w", "layers.17.w"));
    assertFalse(Glob.matches("?", ""));
  }

  @Test
  void allElseStandsForItself() {
    assertTrue(Glob.matches("a.b[0](c)", "a.b[0](c)"));
    assertFalse(Glob.matches("a.b", "axb"));
    assertFalse(Glob.matches("a", "A"));
    assertFalse(Glob.matches("", "a"));
    assertTrue(Glob.matches("", ""));
  }

  @Test
  void shortPatternsMatchAsTheEquivalentExpression() {
    Random random = new Random(5);
    for (int i = 0; i < 20_000; i++) {
      String glob = text(random, "ab*?", 6);
      String name = text(random, "ab", 8);
      String expression = glob.chars()
          .mapToObj(c -> c == '*' ? ".*" : c == '?' ? "." : Pattern.quote(String.valueOf((char) c)))
          .collect(Collectors.joining());
      assertEquals(name.matches(expression), Glob.matches(glob, name), () -> glob + " on " + name);
    }
  }

  /** An expression that backtracks would not end on this within the age of the universe. */
  @Test
  void manyStarsEndInTimeProportionalToPatternAndName() {
    assertFalse(Glob.matches("*a".repeat(2_000) + "b", "a".repeat(20_000)));
  }

  @Test
  void onePatternOfSeveralIsEnough() {
    Predicate<String> any = Glob.anyOf(List.of("a*", "*z"), List.of("ab", "yz", "m"));
    assertTrue(any.test("ab"));
    assertTrue(any.test("yz"));
    assertFalse(any.test("m"));
  }

  @Test
  void aPatternThatMatchesNothingIsRefused() {
    IllegalArgumentException e =
        assertThrows(IllegalArgumentException.class, () -> Glob.anyOf(List.of("a*", "q\n*"), List.of("ab", "yz")));
    assertEquals("pattern 'q\\u000a*' matches none of the 2 tensors of the patch", e.getMessage());
    assertThrows(IllegalArgumentException.class, () -> Glob.anyOf(List.of(), List.of("ab")));
  }

  private static String text(Random random, String alphabet, int longest) {
    return random.ints(random.nextInt(longest + 1), 0, alphabet.length())
        .mapToObj(i -> alphabet.substring(i, i + 1))
        .collect(Collectors.joining());
  }
}
