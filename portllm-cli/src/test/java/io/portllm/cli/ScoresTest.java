package io.portllm.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What scoring commands may print. */
class ScoresTest {
  private static Scores read(String text) throws IOException {
    return Scores.read(new ByteArrayInputStream(text.getBytes(StandardCharsets.UTF_8)), "[it]");
  }

  @Test
  void linesAreNumbersOrObjects() throws IOException {
    assertEquals(List.of(0.0, 1.0, 0.25, 0.5, 0.001), read("0\n1\r\n .25\n5e-1\n1.e-3").values());
    Scores named = read("{\"id\": \"a\", \"score\": 0.5, \"answer\": {\"x\": 1}}\n{\"score\": true, \"id\": 7}\n");
    assertEquals(new Scores(List.of(0.5, 1.0), List.of("a", "7")), named);
    assertEquals(List.of(), read("{\"score\": false}\n1\n").ids());
    assertEquals(List.of(), read("").values());
  }

  @ParameterizedTest
  @CsvSource(delimiter = '|', quoteCharacter = '^', value = {
    "1;;1 | line 2 must be a number from 0 to 1, or a JSON object with such a score, but is '' (SC-LINE)",
    "yes | line 1 must be a number from 0 to 1, or a JSON object with such a score, but is 'yes' (SC-LINE)",
    "0x1p0 | line 1 must be a number from 0 to 1, or a JSON object with such a score, but is '0x1p0' (SC-LINE)",
    "NaN | line 1 must be a number from 0 to 1, or a JSON object with such a score, but is 'NaN' (SC-LINE)",
    "1;-0.5 | line 2 must be from 0 to 1 but is '-0.5' (SC-RANGE)",
    "1e999 | line 1 must be from 0 to 1 but is '1e999' (SC-RANGE)",
    "{\"score\":1} 2 | line 1 begins as a JSON object but is none: '{\"score\":1} 2' (SC-LINE)",
    "{\"score\":1,\"score\":0} | line 1 begins as a JSON object but is none: '{\"score\":1,\"score\":0}' (SC-LINE)",
    "{\"id\":1} | line 1 must have a score that is a number, true or false: '{\"id\":1}' (SC-LINE)",
    "{\"score\":\"1\"} | line 1 must have a score that is a number, true or false: '{\"score\":\"1\"}' (SC-LINE)",
    "{\"score\":1,\"id\":[]} | line 1 has an id that is neither a text nor a whole number (SC-ID)",
    "{\"score\":1,\"id\":1};1 | line 2 must have an id if others have one (SC-ID)",
    "1;{\"score\":1,\"id\":1} | line 2 must have an id if others have one (SC-ID)",
    "{\"score\":1,\"id\":1};{\"score\":1,\"id\":\"1\"} | line 2 has the id '1' of an earlier line (SC-ID)"
  })
  void whatIsNoScoreIsRefusedWithItsLine(String lines, String message) {
    IOException refused = assertThrows(IOException.class, () -> read(lines.replace(';', '\n')));
    assertEquals("[it]: " + message, refused.getMessage());
  }

  @Test
  void linesAreOfBoundedLengthAndInUtf8() {
    assertEquals(
        "[it]: line 2 must not be longer than 65536 characters (SC-LINE)",
        assertThrows(IOException.class, () -> read("1\n" + "1".repeat(65_537))).getMessage());
    byte[] latin = {'1', '\n', (byte) 0xe4, '\n'};
    assertEquals(
        "[it]: line 1 must be UTF-8 (SC-LINE)",
        assertThrows(IOException.class, () -> Scores.read(new ByteArrayInputStream(latin), "[it]")).getMessage());
  }

  @Test
  void theItemsOfTwoRunsAreTheSame() throws IOException {
    Scores first = read("{\"score\":1,\"id\":\"a\"}\n{\"score\":1,\"id\":\"b\"}");
    read("{\"score\":0,\"id\":\"a\"}\n{\"score\":0,\"id\":\"b\"}").requireSameItems(first, "[it]", "'v2'");
    assertEquals(
        "[it]: gives no ids, unlike 'v2' (SC-ID)",
        assertThrows(IOException.class, () -> read("1\n1").requireSameItems(first, "[it]", "'v2'")).getMessage());
    assertEquals(
        "[it]: line 1 must be of item 'a', as for 'v2', but is of 'b' (SC-ID)",
        assertThrows(IOException.class,
            () -> read("{\"score\":1,\"id\":\"b\"}\n{\"score\":1,\"id\":\"a\"}").requireSameItems(first, "[it]", "'v2'")).getMessage());
  }

  @Test
  void wordsAreKeptTogetherByQuotesAlone() {
    assertEquals(
        List.of("python3", "C:\\my dir\\eval.py", "--x=a b", "$HOME", "*", "", "it's", "{}"),
        Words.of("python3  \"C:\\my dir\\eval.py\"\t--x='a b' $HOME * '' \"it's\"\n{}"));
    assertEquals(List.of(), Words.of("  "));
    assertEquals(
        "has a quote \" that is not closed", assertThrows(IllegalArgumentException.class, () -> Words.of("a \"b 'c'")).getMessage());
  }
}
