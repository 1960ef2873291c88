package io.portllm.internal.text;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class NamesTest {
  @Test
  void ordinaryNamesAreOnlyQuoted() {
    assertEquals("'model.layers.0.mlp.weight'", Names.quote("model.layers.0.mlp.weight"));
    assertEquals("''", Names.quote(""));
    assertEquals("'poids.été.重み'", Names.quote("poids.été.重み"));
  }

  @Test
  void quotesAndBackslashesCannotEndTheName() {
    assertEquals("'a\\'b\\\\c'", Names.quote("a'b\\c"));
  }

  @Test
  void charactersThatStartLinesOrSteerTerminalsAreEscaped() {
    assertEquals("'a\\u000ab\\u000dc\\u0009d'", Names.quote("a\nb\rc\td"));
    assertEquals("'\\u001b[31mred\\u009b0m'", Names.quote("\u001b[31mred\u009b0m"));
    assertEquals("'\\u0000\\u007f\\u0085\\u2028\\u2029'", Names.quote("\0\u007f\u0085\u2028\u2029"));
  }

  @Test
  void charactersThatReorderOrHideTextAreEscaped() {
    assertEquals("'\\u202egnp.exe\\u202c'", Names.quote("\u202egnp.exe\u202c"));
    assertEquals("'\\u2066a\\u2069\\u200b\\u200f\\ufeff\\u00ad\\u061c'", Names.quote("\u2066a\u2069\u200b\u200f\ufeff\u00ad\u061c"));
    assertEquals("'\\ue000\\uffff'", Names.quote("\ue000\uffff"));
  }

  @Test
  void surrogatesAreEscapedPairedOrNot() {
    assertEquals("'\\ud83d\\ude00'", Names.quote("\ud83d\ude00"));
    assertEquals("'\\ud83d'", Names.quote("\ud83d"));
    assertEquals("'\\ude00x'", Names.quote("\ude00x"));
  }

  @Test
  void longNamesAreCutInTheMiddle() {
    assertEquals("'" + "a".repeat(120) + "'", Names.quote("a".repeat(120)));
    String quoted = Names.quote("a".repeat(100) + "b".repeat(4000));
    assertEquals("'" + "a".repeat(60) + "..." + "b".repeat(60) + "' (4100 characters)", quoted);
    assertTrue(Names.quote("\n".repeat(1_000_000)).length() < 800);
  }

  @Test
  void noCharacterAtAllBreaksTheLine() {
    for (int c = 0; c < 1 << 16; c++) {
      String quoted = Names.quote(String.valueOf((char) c));
      assertEquals(1, quoted.lines().count());
      assertTrue(quoted.chars().noneMatch(q -> Character.isISOControl(q) || Character.getType(q) == Character.FORMAT));
    }
  }

  @Test
  void theLastPartOfAPathIsWhatFollowsTheLastSlash() {
    assertEquals("model", Names.last("/a/b/model"));
    assertEquals("model", Names.last("/a/b/model/"));
    assertEquals("model", Names.last("model"));
    assertEquals("", Names.last("/"));
    assertEquals("", Names.last(""));
  }
}
