package io.portllm.io.patchfile;

import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.io.MalformedModelException;
import io.portllm.io.PatchFile;
import io.portllm.io.write.TestModel;
import io.portllm.io.write.Trees;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** Each way in which a patch file can lie is refused by its rule. */
class MalformedPatchFileTest {
  private static final String ZEROS = "0".repeat(64);

  private static final String GOOD =
      "{'w': {'shape': [4, 3], 'terms': [{'kind': 'dense', 'factor': 1.0}]},"
          + " 'p': {'shape': [4, 3], 'terms': [{'kind': 'low-rank', 'factor': 2, 'scale': 0.5, 'transposed': false}]},"
          + " 'r': {'shape': [4, 3], 'terms': [{'kind': 'rows', 'factor': 1}]},"
          + " 'x': {'shape': [4, 3], 'terms': [{'kind': 'replacement', 'factor': 1}]},"
          + " 'y': {'shape': [4, 3], 'terms': [{'kind': 'row-replacement', 'factor': 1}]}}";

  @TempDir Path dir;

  private final List<DynamicTest> tests = new ArrayList<>();

  private static Map<String, String> metadata() {
    Map<String, String> metadata = new TreeMap<>();
    metadata.put("portllm.format", "patch");
    metadata.put("portllm.version", "1");
    metadata.put("portllm.recipe", "by hand");
    metadata.put("portllm.deltas", json(GOOD));
    metadata.put("portllm.base.name", "b");
    metadata.put("portllm.base.tying", "UNTIED");
    metadata.put("portllm.base.fingerprint", ZEROS);
    metadata.put("portllm.base.tensors", json("{'w': ['F32', [4, 3], '" + ZEROS + "'], 's': ['BF16', []]}"));
    return metadata;
  }

  private static String json(String text) {
    return text.replace('\'', '"');
  }

  private static TestModel tensors(Map<String, String> metadata) {
    return new TestModel("p").shard("p.safetensors", metadata);
  }

  private static TestModel goodTensors(Map<String, String> metadata, String without) {
    TestModel model = tensors(metadata);
    Map<String, Runnable> all = new TreeMap<>();
    all.put("w.0.delta", () -> model.random("w.0.delta", DType.F32, 1, 1, 4, 3));
    all.put("p.0.lora_A", () -> model.random("p.0.lora_A", DType.F32, 2, 1, 2, 3));
    all.put("p.0.lora_B", () -> model.random("p.0.lora_B", DType.F32, 3, 1, 4, 2));
    all.put("r.0.delta", () -> model.random("r.0.delta", DType.F32, 4, 1, 2, 3));
    all.put("r.0.indices", () -> model.tensor("r.0.indices", DType.I64, TestModel.encode(DType.I64, 3, 0), 2));
    all.put("x.0.weight", () -> model.random("x.0.weight", DType.F32, 5, 1, 4, 3));
    all.put("y.0.weight", () -> model.random("y.0.weight", DType.F32, 6, 1, 1, 3));
    all.put("y.0.indices", () -> model.tensor("y.0.indices", DType.I64, TestModel.encode(DType.I64, 2), 1));
    all.remove(without);
    all.values().forEach(Runnable::run);
    return model;
  }

  private void refused(String rule, String message, TestModel model) {
    tests.add(DynamicTest.dynamicTest(message, () -> assertRefused(rule, message, model)));
  }

  private void assertRefused(String rule, String message, TestModel model) throws IOException {
    Path file = model.saveFile(dir.resolve("p.safetensors"));
    MalformedModelException refusal = assertThrows(MalformedModelException.class, () -> PatchFile.open(file));
    assertAll(
        () -> assertEquals("[" + file + "] " + message + " (" + rule + ")", refusal.getMessage()),
        () -> assertEquals(rule, refusal.rule()),
        () -> assertTrue(refusal.getMessage().chars().noneMatch(Character::isISOControl)),
        () -> assertEquals(List.of(), Trees.openFiles(dir)));
  }

  /** The good patch with one entry of its metadata changed, or without it. */
  private void metadata(String rule, String message, String key, String value) {
    Map<String, String> changed = metadata();
    if (value == null) {
      changed.remove(key);
    } else {
      changed.put(key, json(value));
    }
    refused(rule, message, goodTensors(changed, ""));
  }

  /** The good patch with one tensor changed. */
  private void tensor(String rule, String message, String name, DType type, byte[] bytes, long... shape) {
    refused(rule, message, goodTensors(metadata(), name).tensor(name, type, bytes, shape));
  }

  /** The good patch with some text of its list of changes replaced. */
  private void delta(String rule, String message, String from, String to) {
    assertTrue(GOOD.contains(from), from);
    metadata(rule, message, "portllm.deltas", GOOD.replace(from, to));
  }

  @Test
  void theGoodPatchIsRead() throws IOException {
    try (PatchFile file = PatchFile.open(goodTensors(metadata(), "").saveFile(dir.resolve("p.safetensors")))) {
      assertEquals(5, file.patch().deltas().size());
      assertTrue(file.patch().deltas().get("w") instanceof Delta.Dense);
      assertTrue(file.patch().deltas().get("p") instanceof Delta.Sum);
      assertTrue(file.patch().deltas().get("y") instanceof Delta.RowReplacement);
    }
    Map<String, String> more = metadata();
    more.put("x-note", "unknown keys are nobody's business");
    PatchFile.open(goodTensors(more, "").saveFile(dir.resolve("p.safetensors"))).close();
  }

  @TestFactory
  Stream<DynamicTest> wrongMetadata() {
    metadata("PF-FORMAT", "is no patch: its metadata lacks portllm.format = patch", "portllm.format", null);
    metadata("PF-FORMAT", "is no patch: its metadata lacks portllm.format = patch", "portllm.format", "Patch");
    metadata("PF-VERSION", "is a patch of format version '2', but only version 1 is read", "portllm.version", "2");
    metadata("PF-VERSION", "is a patch of format version '1.0', but only version 1 is read", "portllm.version", "1.0");
    metadata("PF-VERSION", "is a patch of format version 'n\\u000aw', but only version 1 is read", "portllm.version", "n\nw");
    metadata("PF-VERSION", "is a patch of format version '', but only version 1 is read", "portllm.version", null);
    metadata("PF-FORMAT", "its metadata lacks portllm.deltas", "portllm.deltas", null);
    metadata("PF-FORMAT", "portllm.deltas is no JSON object", "portllm.deltas", "[]");
    metadata("PF-FORMAT", "portllm.deltas is no JSON object", "portllm.deltas", "");
    metadata("PF-FORMAT", "portllm.deltas is no JSON object", "portllm.deltas", "null");
    metadata("PF-FORMAT", "portllm.base.tensors is no JSON object", "portllm.base.tensors", "7");
    metadata("PF-BASE", "portllm.base.tying must be TIED, UNTIED or UNKNOWN but is 'tied'", "portllm.base.tying", "tied");
    for (String digest : List.of(ZEROS.substring(1), ZEROS + "0", "A".repeat(64), "sha256:" + ZEROS.substring(7), "")) {
      metadata("PF-BASE", "a digest must be 64 lower-case hexadecimal digits but is '" + digest + "'", "portllm.base.fingerprint", digest);
    }
    metadata("PF-BASE", "a digest must be 64 lower-case hexadecimal digits but is 'abc'", "portllm.base.tensors",
        "{'w': ['F32', [4, 3], 'abc']}");
    metadata("PF-BASE", "a digest must be 64 lower-case hexadecimal digits but is ''", "portllm.base.tensors",
        "{'w': ['F32', [4, 3], {}]}");
    metadata("PF-BASE", "tensor 'w' of the base has no known type", "portllm.base.tensors", "{'w': ['f32', [4, 3]]}");
    metadata("PF-BASE", "tensor 'w' of the base has no known type", "portllm.base.tensors", "{'w': 5}");
    metadata("PF-SHAPE", "tensor 'w' has no shape", "portllm.base.tensors", "{'w': ['F32']}");
    metadata("PF-SHAPE", "tensor 'w': dimension must be >= 0 but was -4", "portllm.base.tensors", "{'w': ['F32', [-4, 3]]}");
    metadata("PF-SHAPE", "tensor 'w': long overflow", "portllm.base.tensors", "{'w': ['F32', [9223372036854775807, 3]]}");
    metadata("PF-SHAPE", "tensor 'w' has a dimension '9223372036854775808'", "portllm.base.tensors",
        "{'w': ['F32', [9223372036854775808]]}");
    metadata("PF-SHAPE", "tensor 'w' has a dimension '4.0'", "portllm.base.tensors", "{'w': ['F32', [4.0]]}");
    return tests.stream();
  }

  @TestFactory
  Stream<DynamicTest> wrongTokens() {
    byte[] two = {0, 1, 'a', 2, 1, 'b'};
    tokens("PF-FORMAT", "its metadata lacks portllm.tokens.first-added", two, null, "{}");
    tokens("PF-FORMAT", "its metadata lacks portllm.tokens.added", two, "4", null);
    String unreadable = "the tokens are not readable: ";
    tokens("PF-TOKENS", unreadable + "'For input string: \"x\"'", two, "x", "{}");
    tokens("PF-TOKENS", unreadable + "'the first added row must be 0 or more but was -1'", two, "-1", "{}");
    tokens("PF-TOKENS", unreadable + "'the token of row 3 is cut off'", new byte[] {0, 1, 'a', 2, 2, 'b'}, "4", "{}");
    tokens("PF-TOKENS", unreadable + "'the token after 1 others is malformed'", new byte[] {0, 1, 'a', 2}, "4", "{}");
    tokens("PF-TOKENS", unreadable + "'the token after 0 others is malformed'", new byte[] {0, 1, (byte) 0xff}, "4", "{}");
    tokens("PF-TOKENS", unreadable + "'the token after 0 others is malformed'", new byte[] {-1, -1, -1, -1, -1, -1}, "4", "{}");
    String odd = unreadable + "'there is no token, a token of two rows, or a property of a row without one'";
    tokens("PF-TOKENS", odd, new byte[0], "4", "{}");
    tokens("PF-TOKENS", odd, new byte[] {0, 1, 'a', 2, 1, 'a'}, "4", "{}");
    tokens("PF-TOKENS", odd, two, "3", "{'4': []}");
    String properties = unreadable + "'the properties of row 3 must be some of [lstrip, normalized, rstrip, single_word, special]'";
    tokens("PF-TOKENS", properties, two, "3", "{'3': ['odd']}");
    tokens("PF-TOKENS", properties, two, "3", "{'3': 7}");
    tokens("PF-TOKENS", properties, two, "4", "{'3': ['special']}");
    TestModel wide = goodTensors(metadata(), "").tensor("portllm.tokens", DType.F32, new byte[8], 2);
    refused("PF-TOKENS", "tensor 'portllm.tokens' must be a list of at most 268435456 U8 but is F32 [2]", wide);
    return tests.stream();
  }

  private void tokens(String rule, String message, byte[] table, String firstAdded, String added) {
    Map<String, String> changed = metadata();
    if (firstAdded != null) {
      changed.put("portllm.tokens.first-added", firstAdded);
    }
    if (added != null) {
      changed.put("portllm.tokens.added", json(added));
    }
    refused(rule, message, goodTensors(changed, "").tensor("portllm.tokens", DType.U8, table, table.length));
  }

  @TestFactory
  Stream<DynamicTest> textThatIsNoJson() {
    List<String> texts =
        List.of("{", "{}x", "{'a': NaN}", "{a: 1}", "{'a': 1,}", "[".repeat(100_000), "{'a': 1" + "0".repeat(2000) + "}",
            "{'a': {}, 'a': {}}", "{'a': {'b': 1, 'b': 1}}");
    for (String key : List.of("portllm.deltas", "portllm.base.tensors")) {
      for (String text : texts) {
        Map<String, String> changed = metadata();
        changed.put(key, json(text));
        tests.add(
            DynamicTest.dynamicTest(
                key + " " + text.substring(0, Math.min(20, text.length())),
                () -> {
                  Path file = goodTensors(changed, "").saveFile(dir.resolve("p.safetensors"));
                  MalformedModelException refusal = assertThrows(MalformedModelException.class, () -> PatchFile.open(file));
                  assertEquals("PF-FORMAT", refusal.rule());
                  assertTrue(refusal.getMessage().startsWith("[" + file + "] " + key + " is not JSON: '"), refusal::getMessage);
                }));
      }
    }
    return tests.stream();
  }

  @TestFactory
  Stream<DynamicTest> wrongChanges() {
    delta("PF-KIND", "tensor 'w' has a change of the unknown kind 'xor'", "'dense'", "'xor'");
    delta("PF-KIND", "tensor 'w' has a change of the unknown kind 'null'", "'kind': 'dense'", "'kind': null");
    delta("PF-KIND", "tensor 'w' has a change of the unknown kind 'replacement'", "[{'kind': 'dense'",
        "[{'kind': 'replacement', 'factor': 1}, {'kind': 'dense'");
    delta("PF-KIND", "tensor 'w' has no terms", "[{'kind': 'dense', 'factor': 1.0}]", "[]");
    delta("PF-KIND", "tensor 'w' has no terms", "[{'kind': 'dense', 'factor': 1.0}]", "{}");
    delta("PF-KIND", "tensor 'w' needs a finite number as factor", "[{'kind': 'dense', 'factor': 1.0}]", "[7]");
    delta("PF-KIND", "tensor 'w' needs a finite number as factor", "1.0", "'1'");
    delta("PF-KIND", "tensor 'w' needs a finite number as factor", "1.0", "1e999");
    delta("PF-KIND", "tensor 'p' needs a finite number as scale", ", 'scale': 0.5", "");
    delta("PF-KIND", "tensor 'p' needs true or false as transposed", ", 'transposed': false", "");
    delta("PF-KIND", "tensor 'p' needs true or false as transposed", "'transposed': false", "'transposed': 'true'");
    delta("PF-SHAPE", "tensor 'w' has no shape", "'w': {'shape': [4, 3], ", "'w': {");
    delta("PF-SHAPE", "tensor 'w' is said to be [3, 4], but its change is [4, 3]", "'w': {'shape': [4, 3]", "'w': {'shape': [3, 4]");
    delta("PF-SHAPE", "tensor 'w' is said to be [12], but its change is [4, 3]", "'w': {'shape': [4, 3]", "'w': {'shape': [12]");
    delta("PF-SHAPE", "tensor 'x' is said to be [4, 4], but its change is [4, 3]", "'x': {'shape': [4, 3]", "'x': {'shape': [4, 4]");
    delta("PF-SHAPE", "tensor 'p' is said to be [5, 3], but its change is [4, 3]", "'p': {'shape': [4, 3]", "'p': {'shape': [5, 3]");
    delta("PF-SHAPE", "tensor 'p': factors of 4 x 3 do not make [4, 4]", "'p': {'shape': [4, 3]", "'p': {'shape': [4, 4]");
    delta("PF-SHAPE", "tensor 'p': factors of 4 x 3, transposed, do not make [3, 3]", "'transposed': false", "'transposed': true");
    delta("PF-SHAPE", "tensor 'p': factors of [4, 2] and [2, 3] do not make [12]", "'p': {'shape': [4, 3]", "'p': {'shape': [12]");
    delta("PF-SHAPE", "tensor 'r': 2 rows of [4, 5] do not have the shape [2, 3]", "'r': {'shape': [4, 3]", "'r': {'shape': [4, 5]");
    return tests.stream();
  }

  @TestFactory
  Stream<DynamicTest> wrongTensors() {
    byte[] four = TestModel.encode(DType.F32, 1, 2, 3, 4);
    for (String name :
        List.of("w.0.delta", "p.0.lora_A", "p.0.lora_B", "r.0.delta", "r.0.indices", "x.0.weight", "y.0.weight", "y.0.indices")) {
      refused("PF-TENSORS", "tensor '" + name + "' is missing", goodTensors(metadata(), name));
    }
    TestModel loose = goodTensors(metadata(), "").random("w.1.delta", DType.F32, 1, 1, 4, 3);
    refused("PF-TENSORS", "tensor 'w.1.delta' belongs to no change", loose);
    loose = goodTensors(metadata(), "").random("loose\nend", DType.F32, 1, 1, 1);
    refused("PF-TENSORS", "tensor 'loose\\u000aend' belongs to no change", loose);
    tensor("PF-SHAPE", "tensor 'w' is said to be [4, 3], but its change is [2, 2]", "w.0.delta", DType.F32, four, 2, 2);
    tensor("PF-SHAPE", "tensor 'w': type must be a floating one but was I32", "w.0.delta", DType.I32, TestModel.values(DType.I32, 1, 1, 12),
        4, 3);
    tensor("PF-SHAPE", "tensor 'p': B must have as many columns as A has rows, but they are [4, 2] and [1, 4]", "p.0.lora_A", DType.F32,
        four, 1, 4);
    tensor("PF-SHAPE", "tensor 'p': factors of [4, 2] and [4] do not make [4, 3]", "p.0.lora_A", DType.F32, four, 4);
    tensor("PF-SHAPE", "tensor 'r': 2 rows of [4, 3] do not have the shape [1, 4]", "r.0.delta", DType.F32, four, 1, 4);
    return tests.stream();
  }

  @TestFactory
  Stream<DynamicTest> wrongRowNumbers() {
    String name = "r.0.indices";
    tensor("PF-INDEX", "tensor 'r.0.indices' must be a list of I64 but is I32 [2]", name, DType.I32, TestModel.encode(DType.I32, 1, 2), 2);
    tensor("PF-INDEX", "tensor 'r.0.indices' must be a list of I64 but is I64 [2, 1]", name, DType.I64, TestModel.encode(DType.I64, 1, 2),
        2, 1);
    tensor("PF-INDEX", "tensor 'r.0.indices': number 1, 4, is no row of [4, 3]", name, DType.I64, TestModel.encode(DType.I64, 1, 4), 2);
    tensor("PF-INDEX", "tensor 'r.0.indices': number 0, -1, is no row of [4, 3]", name, DType.I64, TestModel.encode(DType.I64, -1, 2), 2);
    tensor("PF-INDEX", "tensor 'r.0.indices': number 1, 2, occurs again", name, DType.I64, TestModel.encode(DType.I64, 2, 2), 2);
    tensor("PF-SHAPE", "tensor 'r': 1 rows of [4, 3] do not have the shape [2, 3]", name, DType.I64, TestModel.encode(DType.I64, 2), 1);
    tensor("PF-INDEX", "tensor 'y.0.indices': number 0, 9, is no row of [4, 3]", "y.0.indices", DType.I64, TestModel.encode(DType.I64, 9),
        1);
    return tests.stream();
  }

  @TestFactory
  Stream<DynamicTest> termsOfOneTensorThatDoNotFitEachOther() {
    Map<String, String> changed = new TreeMap<>(metadata());
    changed.put("portllm.deltas",
        json("{'w': {'shape': [4, 3], 'terms': [{'kind': 'dense', 'factor': 1}, {'kind': 'dense', 'factor': 1}]}}"));
    refused(
        "PF-SHAPE",
        "tensor 'w': terms must change one tensor but change [4, 3] and [3, 4]",
        tensors(changed).random("w.0.delta", DType.F32, 1, 1, 4, 3).random("w.1.delta", DType.F32, 1, 1, 3, 4));
    refused(
        "PF-SHAPE",
        "tensor 'w' is said to be [4, 3], but its change is [5, 3]",
        tensors(changed).random("w.0.delta", DType.F32, 1, 1, 4, 3).random("w.1.delta", DType.F32, 1, 1, 5, 3));
    return tests.stream();
  }
}
