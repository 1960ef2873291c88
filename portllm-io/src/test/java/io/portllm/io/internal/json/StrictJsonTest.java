package io.portllm.io.internal.json;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.fasterxml.jackson.core.JsonToken;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class StrictJsonTest {
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{\"a\":1,\"a\":2} | DUPLICATE",
        "{\"x\":[{\"a\":1,\"\\u0061\":2}]} | DUPLICATE",
        "[1,] | SYNTAX",
        "[01] | SYNTAX",
        "[+1] | SYNTAX",
        "[.5] | SYNTAX",
        "[5.] | SYNTAX",
        "[1e] | SYNTAX",
        "[NaN] | SYNTAX",
        "[-Infinity] | SYNTAX",
        "[1 2] | SYNTAX",
        "[1] 2 | SYNTAX",
        "[\"\\ud800\"] | SYNTAX",
        "['a'] | SYNTAX",
        "[/**/1] | SYNTAX",
        "[1#] | SYNTAX",
        "[tru] | SYNTAX",
        "[truex] | SYNTAX",
      })
  void lenienciesAreOff(String text, JsonException.Kind kind) {
    assertEquals(kind, assertThrows(JsonException.class, () -> readAll(text.getBytes(StandardCharsets.UTF_8))).kind());
  }

  @Test
  void nestingIsReadToItsLimitAndNoDeeper() throws JsonException {
    int most = StrictJson.DEEPEST;
    readAll(("[".repeat(most) + "]".repeat(most)).getBytes(StandardCharsets.UTF_8));
    JsonException e =
        assertThrows(JsonException.class, () -> readAll(("[".repeat(most + 1) + "]".repeat(most + 1)).getBytes(StandardCharsets.UTF_8)));
    assertEquals(JsonException.Kind.DEPTH, e.kind());
    assertEquals("nested deeper than 64 levels", e.getMessage());
  }

  @Test
  void numbersAreReadToTheirLimitAndNoLonger() throws JsonException {
    readAll(("[" + "1".repeat(StrictJson.LONGEST_NUMBER) + "]").getBytes(StandardCharsets.UTF_8));
    JsonException e =
        assertThrows(
            JsonException.class, () -> readAll(("[" + "1".repeat(StrictJson.LONGEST_NUMBER + 1) + "]").getBytes(StandardCharsets.UTF_8)));
    assertEquals(JsonException.Kind.SYNTAX, e.kind());
    assertEquals("not readable: a number of more than 1000 digits", e.getMessage());
  }

  @Test
  void exponentsBeyondReachAreRefused() {
    assertThrows(JsonException.class, () -> readAll("[1e99999999999]".getBytes(StandardCharsets.UTF_8)));
  }

  @Test
  void textIsNotRepeatedWholeInMessages() {
    JsonException e = assertThrows(JsonException.class, () -> readAll(("x\u202e" + "y".repeat(5000)).getBytes(StandardCharsets.UTF_8)));
    assertEquals(true, e.getMessage().length() < 300 && e.getMessage().indexOf(0x202e) < 0, e::getMessage);
  }

  @Test
  void flatMapsJoinKeysAndIndexes() throws JsonException {
    assertEquals(
        Map.of("a.b.0", "1.50", "a.b.1.c", "null", "d", "", "", "e"),
        FlatJson.read("{\"a\":{\"b\":[1.50,{\"c\":null}]},\"d\":\"\",\"\":\"e\"}".getBytes(StandardCharsets.UTF_8)));
  }

  @Test
  void flatMapsAreLimited() {
    byte[] text = ("{\"" + "k".repeat(100_000) + "\":[" + "1,".repeat(1000) + "1]}").getBytes(StandardCharsets.UTF_8);
    assertEquals("more than 33554432 characters of values", assertThrows(JsonException.class, () -> FlatJson.read(text)).getMessage());
  }

  private static void readAll(byte[] text) throws JsonException {
    try (StrictJson json = StrictJson.of(text)) {
      JsonToken first = json.next();
      assertEquals(true, first != null);
      json.value();
      json.end();
    }
  }
}
