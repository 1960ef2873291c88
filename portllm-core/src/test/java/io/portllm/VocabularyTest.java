package io.portllm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;

class VocabularyTest {
  private static AddedToken special(String content) {
    return new AddedToken(content, true, false, false, false, false);
  }

  @Test
  void tokensAreFoundByRowAndByStringInWhateverOrderTheyCame() {
    Vocabulary vocabulary = Vocabulary.builder().add(7, "▁the").add(0, "").add(3, "Ġ😀").build();
    assertEquals(3, vocabulary.size());
    assertEquals(8, vocabulary.end());
    assertEquals(Optional.of("▁the"), vocabulary.token(7));
    assertEquals(Optional.of(""), vocabulary.token(0));
    assertEquals(Optional.empty(), vocabulary.token(5));
    assertEquals(OptionalInt.of(3), vocabulary.row("Ġ😀"));
    assertEquals(OptionalInt.empty(), vocabulary.row("the"));
  }

  @Test
  void everyOneOfManyTokensIsFound() {
    Vocabulary.Builder builder = Vocabulary.builder();
    for (int row = 0; row < 50_000; row++) {
      builder.add(row, "token " + Integer.toString(row * 7919, 36));
    }
    Vocabulary vocabulary = builder.build();
    for (int row = 0; row < 50_000; row++) {
      String token = "token " + Integer.toString(row * 7919, 36);
      assertEquals(row, vocabulary.row(token).orElseThrow());
      assertEquals(token, vocabulary.token(row).orElseThrow());
    }
  }

  @Test
  void theLaterOfTwoTokensOfARowCounts() {
    Vocabulary vocabulary = Vocabulary.builder().add(1, "old").add(1, special("<s>")).add(2, special("gone")).add(2, "plain").build();
    assertEquals(Optional.of("<s>"), vocabulary.token(1));
    assertEquals(OptionalInt.empty(), vocabulary.row("old"));
    assertEquals(Map.of(1, special("<s>")), vocabulary.added());
  }

  @Test
  void aTokenOfTwoRowsIsThatOfTheFirst() {
    Vocabulary vocabulary = Vocabulary.builder().add(9, special("x")).add(2, "x").build();
    assertEquals(OptionalInt.of(2), vocabulary.row("x"));
    assertEquals(Optional.empty(), vocabulary.token(9));
    assertEquals(1, vocabulary.size());
    assertTrue(vocabulary.added().isEmpty());
  }

  @Test
  void holesTakeNoRoom() {
    Vocabulary vocabulary = Vocabulary.builder().add(Integer.MAX_VALUE - 1, "far").add(0, "near").build();
    assertEquals(Integer.MAX_VALUE, vocabulary.end());
    assertEquals(2, vocabulary.rows().count());
  }

  @Test
  void equalityIsOfTokensAndTheirRows() {
    Vocabulary one = Vocabulary.builder().add(0, "a").add(1, "bc").build();
    assertEquals(one, Vocabulary.builder().add(1, "bc").add(0, "a").build());
    assertEquals(one.hashCode(), Vocabulary.builder().add(1, "bc").add(0, "a").build().hashCode());
    assertNotEquals(one, Vocabulary.builder().add(0, "ab").add(1, "c").build());
    assertNotEquals(one, Vocabulary.builder().add(0, "a").add(2, "bc").build());
    assertTrue(Vocabulary.empty().isEmpty());
    assertFalse(one.isEmpty());
  }

  @Test
  void rowsAndTokensThatCannotBeAreRefused() {
    assertThrows(IllegalArgumentException.class, () -> Vocabulary.builder().add(-1, "a"));
    assertThrows(IllegalArgumentException.class, () -> Vocabulary.builder().add(Integer.MAX_VALUE, "a"));
    assertEquals(
        "token must be text but '\\ud800' has half a surrogate pair",
        assertThrows(IllegalArgumentException.class, () -> Vocabulary.builder().add(0, "\ud800")).getMessage());
  }
}
