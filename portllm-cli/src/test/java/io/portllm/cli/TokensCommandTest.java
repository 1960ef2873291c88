package io.portllm.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

/** Ports by token as a user runs them, on models of an embedding of one column. */
class TokensCommandTest {
  @TempDir private Path folder;

  private record Result(int exitCode, String out, String err) {}

  private static Result run(Object... arguments) {
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    CommandLine command = Main.commandLine().setOut(new PrintWriter(out)).setErr(new PrintWriter(err, true));
    int exitCode = command.execute(Arrays.stream(arguments).map(Object::toString).toArray(String[]::new));
    return new Result(exitCode, out.toString(), err.toString());
  }

  private static void save(Path model, List<String> tokens, float... values) throws IOException {
    Files.createDirectories(model);
    String header =
        "{\"model.embed_tokens.weight\":{\"dtype\":\"F32\",\"shape\":["
            + values.length + ",1],\"data_offsets\":[0," + 4 * values.length + "]}}";
    header += " ".repeat(7 - (header.length() + 7) % 8);
    ByteBuffer file = ByteBuffer.allocate(8 + header.length() + 4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    file.putLong(header.length()).put(header.getBytes(StandardCharsets.US_ASCII));
    for (float value : values) {
      file.putFloat(value);
    }
    Files.write(model.resolve("model.safetensors"), file.array());
    Files.writeString(model.resolve("config.json"), "{\"tie_word_embeddings\": true, \"vocab_size\": " + values.length + "}");
    StringBuilder added = new StringBuilder();
    StringBuilder words = new StringBuilder();
    for (int id = 0; id < tokens.size(); id++) {
      if (tokens.get(id).startsWith("<")) {
        added.append(added.isEmpty() ? "" : ",")
            .append("{\"id\":").append(id).append(",\"content\":\"").append(tokens.get(id)).append("\"}");
      } else {
        words.append(words.isEmpty() ? "" : ",").append('"').append(tokens.get(id)).append("\":").append(id);
      }
    }
    Files.writeString(
        model.resolve("tokenizer.json"), "{\"added_tokens\":[" + added + "],\"model\":{\"type\":\"WordLevel\",\"vocab\":{" + words + "}}}");
  }

  private float[] values(String model) throws IOException {
    byte[] bytes = Files.readAllBytes(folder.resolve(model).resolve("model.safetensors"));
    ByteBuffer file = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    int start = 8 + (int) file.getLong(0);
    float[] values = new float[(file.limit() - start) / 4];
    file.position(start).slice().order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(values);
    return values;
  }

  @BeforeEach
  void saveModels() throws IOException {
    save(folder.resolve("base"), List.of("a", "b", "c"), 1, 2, 3);
    save(folder.resolve("tuned"), List.of("a", "b", "c", "<t>"), 11, 22, 33, 7);
    save(folder.resolve("new"), List.of("c", "b", "a", "<n>"), 300, 200, 100, 5);
  }

  private Result port(String output, Object... more) {
    Object[] arguments = {
      "port", "--fine-tuned", folder.resolve("tuned"), "--base", folder.resolve("base"), "--onto", folder.resolve("new"),
      "-o", folder.resolve(output)
    };
    Object[] all = Arrays.copyOf(arguments, arguments.length + more.length);
    System.arraycopy(more, 0, all, arguments.length, more.length);
    return run(all);
  }

  @Test
  void aTokenThatFineTuningAddedIsRefusedWithTheOptionsThatDecide() {
    Result refused = port("out");
    assertEquals(1, refused.exitCode());
    String message = "1 token, '<t>', that the base lacks; other-vocabulary leaves them out (allowed by added-tokens)";
    assertTrue(refused.err().contains(message), refused.err());
  }

  @Test
  void rowsFollowTheirTokensAndAddedOnesAreLeftOutOrAppended() throws IOException {
    Result left = port("left", "--allow", "other-vocabulary");
    assertEquals(0, left.exitCode(), left.err());
    assertArrayEquals(new float[] {330, 220, 110, 5}, values("left"));
    Result appended = port("appended", "--allow", "added-tokens");
    assertEquals(0, appended.exitCode(), appended.err());
    assertArrayEquals(new float[] {330, 220, 110, 5, 7}, values("appended"));
    assertTrue(appended.out().startsWith("rows by token: 3 in common, 2 (a c) in another row"), appended.out());
    assertTrue(appended.out().contains("only in the patch: 1 (<t>)"), appended.out());
    assertTrue(Files.readString(folder.resolve("appended/config.json")).contains("\"vocab_size\": 5"));
    JsonNode tokenizer = new ObjectMapper().readTree(folder.resolve("appended/tokenizer.json").toFile());
    assertEquals("<t>", tokenizer.at("/added_tokens/1/content").asText());
    assertEquals(4, tokenizer.at("/added_tokens/1/id").asInt());
  }

  @Test
  void aPatchFileAppliesAsThePortDid() throws IOException {
    Path patch = folder.resolve("p.patch.safetensors");
    Path tuned = folder.resolve("tuned");
    assertEquals(0, run("diff", "--fine-tuned", tuned, "--base", folder.resolve("base"), "-o", patch, "--allow", "added-tokens").exitCode());
    Result applied = run("apply", patch, "--to", folder.resolve("new"), "-o", folder.resolve("out"), "--allow", "added-tokens", "--json");
    assertEquals(0, applied.exitCode(), applied.err());
    assertArrayEquals(new float[] {330, 220, 110, 5, 7}, values("out"));
    JsonNode tokens = new ObjectMapper().readTree(applied.out()).get("tokens");
    assertEquals(3, tokens.get("common").asInt());
    assertEquals("<t>", tokens.at("/removed/first/0").asText());
    assertEquals("<n>", tokens.at("/added/first/0").asText());
    assertEquals(0, run("tokens", patch, folder.resolve("new")).exitCode());
  }

  @Test
  void vocabulariesAreCompared() throws IOException {
    Result compared = run("tokens", folder.resolve("base"), folder.resolve("new"), "--json");
    assertEquals(0, compared.exitCode(), compared.err());
    JsonNode report = new ObjectMapper().readTree(compared.out());
    assertEquals(2, report.at("/moved/count").asInt());
    assertEquals(0, report.at("/removed/count").asInt());
    assertEquals(1, report.at("/added/count").asInt());
    Files.delete(folder.resolve("new/tokenizer.json"));
    Result unknown = run("tokens", folder.resolve("base"), folder.resolve("new"));
    assertEquals(1, unknown.exitCode());
    assertTrue(unknown.err().contains("does not say which tokens its rows stand for"), unknown.err());
  }

  @Test
  void aMalformedTokenizerIsNamedInOneLine() throws IOException {
    Files.writeString(folder.resolve("new/tokenizer.json"), "{\"model\": {\"vocab\": {\"a\": -4}}}");
    Result refused = port("out", "--allow", "added-tokens");
    assertEquals(1, refused.exitCode());
    String message = "tokenizer.json] the id of token 'a' must be 0 or more and less than 2147483647 but is -4 (TK-ID, byte 26)";
    assertEquals("portllm: [" + folder.resolve("new") + "/" + message + System.lineSeparator(), refused.err());
  }
}
