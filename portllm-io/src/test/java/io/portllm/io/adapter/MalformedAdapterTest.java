package io.portllm.io.adapter;

import static io.portllm.io.adapter.AdapterFolder.Q;
import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.DType;
import io.portllm.io.MalformedModelException;
import io.portllm.io.PeftAdapter;
import io.portllm.io.internal.adapter.kind.AdapterKinds;
import io.portllm.io.write.TestModel;
import io.portllm.io.write.Trees;
import java.io.IOException;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** Each way in which an adapter can be wrong, or of a kind that is not read, is refused by its rule and says what was found. */
class MalformedAdapterTest {
  private static final String CONFIG = "adapter_config.json";
  private static final String MODEL = "adapter_model.safetensors";
  private static final String TOKENS = "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta";

  @TempDir Path dir;

  private final List<DynamicTest> tests = new ArrayList<>();

  private void refused(String file, String rule, String message, AdapterFolder folder) {
    tests.add(
        DynamicTest.dynamicTest(rule + " " + message, () -> assertRefused(file, rule, message, folder.saveTo(dir.resolve("adapter")))));
  }

  private void assertRefused(String file, String rule, String message, Path folder) {
    MalformedModelException refusal = assertThrows(MalformedModelException.class, () -> PeftAdapter.open(folder));
    assertAll(
        () -> assertEquals("[" + folder.resolve(file) + "] " + message + " (" + rule + ")", refusal.getMessage()),
        () -> assertEquals(rule, refusal.rule()),
        () -> assertTrue(refusal.getMessage().chars().noneMatch(Character::isISOControl)),
        () -> assertEquals(List.of(), Trees.openFiles(dir)));
  }

  /** A plain adapter with one field of its configuration changed. */
  private void config(String rule, String message, String field, String value) {
    refused(CONFIG, rule, message, new AdapterFolder().factors().set(field, value));
  }

  @TestFactory
  Stream<DynamicTest> otherKindsAreRefusedByName() {
    String read = "only LORA, " + String.join(", ", AdapterKinds.names()) + " are read";
    for (String kind : List.of("BONE", "HIRA", "TRAINABLE_TOKENS", "VBLORA", "lora", "NEXT_YEARS")) {
      config("AD-TYPE", "is an adapter of kind '" + kind + "'; " + read, "peft_type", '"' + kind + '"');
    }
    config("AD-TYPE", "names no adapter kind: peft_type is 'null'", "peft_type", "null");
    config("AD-TYPE", "names no adapter kind: peft_type is '[\"LORA\"]'", "peft_type", "[\"LORA\"]");
    refused(CONFIG, "AD-TYPE", "names no adapter kind: peft_type is missing", new AdapterFolder().factors().without("peft_type"));
    return tests.stream();
  }

  @TestFactory
  Stream<DynamicTest> variantsOfLoraAreRefusedByName() {
    Map<String, String> on = new TreeMap<>();
    on.put("use_qalora=true", "QALoRA");
    on.put("use_bdlora={\"nblocks\": 2}", "BD-LoRA");
    on.put("kasa_config={\"beta\": 0.1}", "KaSA");
    on.put("arrow_config={\"top_k\": 2}", "Arrow");
    on.put("alora_invocation_tokens=[1, 2]", "aLoRA, which acts on part of the input only");
    on.put("layer_replication=[[0, 4], [2, 5]]", "layer replication");
    on.forEach(
        (field, name) ->
            config(
                "AD-TYPE",
                "is an adapter of kind " + name + "; of LORA, only its plain form and DoRA are read",
                field.substring(0, field.indexOf('=')),
                field.substring(field.indexOf('=') + 1)));
    for (String init : List.of("pissa", "pissa_niter_16", "olora", "corda", "lora_ga")) {
      config(
          "AD-TYPE",
          "was initialised by '" + init + "', which took weights out of the base, so that it fits no other: convert it to plain LoRA by "
              + "PEFT's save_pretrained(..., path_initial_model_for_weight_conversion=FOLDER), FOLDER being the adapter saved before its training",
          "init_lora_weights",
          '"' + init + '"');
    }
    config(
        "AD-TYPE",
        "was initialised by 'loftq', which corrects the rounding of one quantised base, and PEFT does not convert it to plain LoRA",
        "init_lora_weights",
        "\"loftq\"");
    refused(
        MODEL,
        "AD-DORA",
        "module 'model.layers.0.self_attn.q_proj' has no lora_magnitude_vector, although use_dora is true",
        new AdapterFolder().factors().set("use_dora", "true"));
    refused(
        MODEL,
        "AD-TARGET",
        "holds no factors of the parameter 'experts.down_proj', which target_parameters names",
        new AdapterFolder().factors().set("target_parameters", "[\"experts.down_proj\"]"));
    return tests.stream();
  }

  @Test
  void whatIsSwitchedOffIsNoVariant() throws IOException {
    AdapterFolder folder = new AdapterFolder().factors();
    for (String field : List.of("use_dora", "use_qalora", "use_bdlora")) {
      folder.set(field, "false");
    }
    for (String field
        : List.of("kasa_config", "arrow_config", "layer_replication", "modules_to_save", "trainable_token_indices", "rank_pattern")) {
      folder.set(field, "null");
    }
    folder.set("alora_invocation_tokens", "[]").set("target_parameters", "[]").set("alpha_pattern", "{}").set("bias", "null");
    for (String init : List.of("true", "false", "null", "\"gaussian\"", "\"eva\"", "\"orthogonal\"")) {
      PeftAdapter.open(folder.set("init_lora_weights", init).saveTo(dir.resolve("adapter"))).close();
    }
  }

  @TestFactory
  Stream<DynamicTest> ranksAndAlphas() {
    for (String rank : List.of("0", "-4", "4.0", "4.5", "\"4\"", "null", "true", "4294967300", "1e999")) {
      tests.add(
          DynamicTest.dynamicTest(
              "rank " + rank,
              () -> {
                Path folder = new AdapterFolder().factors().set("r", rank).saveTo(dir.resolve("adapter"));
                MalformedModelException refusal = assertThrows(MalformedModelException.class, () -> PeftAdapter.open(folder));
                assertEquals("AD-RANK", refusal.rule());
                assertTrue(refusal.getMessage().contains("rank must be a whole number >= 1 but is "), refusal::getMessage);
              }));
    }
    refused(CONFIG, "AD-RANK", "rank must be a whole number >= 1 but is missing", new AdapterFolder().factors().without("r"));
    config("AD-RANK", "rank must be a whole number >= 1 but is '\"4\"'", "rank_pattern", "{\"q_proj\": \"4\"}");
    String disagrees = "module 'model.layers.0.self_attn.q_proj' has rank 4 but the configuration says ";
    refused(MODEL, "AD-RANK", disagrees + 8, new AdapterFolder().factors().set("r", "8"));
    refused(MODEL, "AD-RANK", disagrees + 5, new AdapterFolder().factors().set("rank_pattern", "{\"q_proj\": 5}"));
    for (String alpha : List.of("null", "\"8\"", "[8]", "true", "1e999")) {
      tests.add(
          DynamicTest.dynamicTest(
              "alpha " + alpha,
              () -> {
                Path folder = new AdapterFolder().factors().set("lora_alpha", alpha).saveTo(dir.resolve("adapter"));
                assertEquals("AD-ALPHA", assertThrows(MalformedModelException.class, () -> PeftAdapter.open(folder)).rule());
              }));
    }
    refused(CONFIG, "AD-ALPHA", "lora_alpha must be a finite number but is missing", new AdapterFolder().factors().without("lora_alpha"));
    config("AD-ALPHA", "lora_alpha must be a finite number but is 'null'", "alpha_pattern", "{\"q_proj\": null}");
    return tests.stream();
  }

  @Test
  void alphasThatOnlyPythonWritesAreNoNumbers() throws IOException {
    for (String alpha : List.of("NaN", "Infinity", "-Infinity")) {
      Path folder = new AdapterFolder().factors().saveTo(dir.resolve("adapter"));
      String text = Files.readString(folder.resolve(CONFIG));
      Files.writeString(folder.resolve(CONFIG), text.replace("\"lora_alpha\":8", "\"lora_alpha\":" + alpha));
      assertEquals("AD-ALPHA", assertThrows(MalformedModelException.class, () -> PeftAdapter.open(folder)).rule());
      // In a field that nothing depends on they are as good as any.
      Files.writeString(folder.resolve(CONFIG), text.replace("{", "{\"some_rate\":" + alpha + ","));
      PeftAdapter.open(folder).close();
    }
  }

  /** Patterns that would take for ever, each in a way of its own, are refused. */
  @TestFactory
  Stream<DynamicTest> patterns() {
    Map<String, String> patterns = new TreeMap<>();
    patterns.put("q_proj[", "is no regular expression");
    patterns.put("*", "is no regular expression");
    patterns.put("(?P<x>q)", "is no regular expression");
    patterns.put("(".repeat(20_000) + "q" + ")".repeat(20_000), "is no regular expression");
    patterns.put("(.*)*(.*)*(.*)*(.*)*(.*)*(.*)*x", "takes too long to match");
    patterns.put("((){99999}){99999}", "repeats too often");
    patterns.put("(((((){99}){99}){99}){99}){99}", "repeats too often");
    patterns.put("(){ 2147483647}", "repeats too often");
    patterns.put("(){99999999999999999999}", "repeats too often");
    for (String field : List.of("rank_pattern", "alpha_pattern")) {
      patterns.forEach(
          (pattern, problem) ->
              tests.add(
                  DynamicTest.dynamicTest(
                      field + " " + pattern.substring(0, Math.min(40, pattern.length())),
                      () -> {
                        Path folder = new AdapterFolder().factors().set(field, "{\"" + pattern + "\": 4}").saveTo(dir.resolve("adapter"));
                        MalformedModelException refusal = assertThrows(MalformedModelException.class, () -> PeftAdapter.open(folder));
                        assertEquals("AD-PATTERN", refusal.rule());
                        assertTrue(refusal.getMessage().endsWith(", which " + problem + " (AD-PATTERN)"), refusal::getMessage);
                        assertTrue(refusal.getMessage().length() < 500, refusal::getMessage);
                      })));
      config("AD-PATTERN", field + " must be an object but is '[1]'", field, "[1]");
    }
    return tests.stream();
  }

  @Test
  void aPatternThatRecursesOverALongNameIsRefused() {
    AdapterFolder folder = new AdapterFolder().factors("base_model.model." + "a.".repeat(50_000) + "b", 8, 6)
        .set("rank_pattern", "{\"(?<!.)(a|[.]|b)*x\": 4}");

    assertRefused(
        CONFIG, "AD-PATTERN", "rank_pattern has the pattern '(?<!.)(a|[.]|b)*x', which nests too deep",
            folder.saveTo(dir.resolve("adapter")));
  }

  @TestFactory
  Stream<DynamicTest> factors() {
    refused(MODEL, "AD-MODEL", "holds no tensors", new AdapterFolder());
    refused(MODEL, "AD-PAIR", "module 'm' has lora_A but no lora_B", new AdapterFolder().factors()
        .tensor("base_model.model.m.lora_A.weight", 1, 4, 6));
    refused(MODEL, "AD-PAIR", "module 'm' has lora_B but no lora_A", new AdapterFolder().factors()
        .tensor("base_model.model.m.lora_B.weight", 1, 6, 4));
    refused(
        MODEL,
        "AD-PAIR",
        "module 'm' has lora_embedding_A but no lora_embedding_B",
        new AdapterFolder().factors().tensor("base_model.model.m.lora_embedding_A", 1, 4, 6));
    shapes("[4, 6]", "[8, 3]", new long[] {4, 6}, new long[] {8, 3});
    shapes("[8, 4]", "[4, 6]", new long[] {8, 4}, new long[] {4, 6});
    shapes("[4]", "[8, 4]", new long[] {4}, new long[] {8, 4});
    shapes("[4, 6]", "[8]", new long[] {4, 6}, new long[] {8});
    shapes("[]", "[]", new long[] {}, new long[] {});
    shapes("[0, 6]", "[8, 0]", new long[] {0, 6}, new long[] {8, 0});
    shapes("[4, 0]", "[8, 4]", new long[] {4, 0}, new long[] {8, 4});
    shapes("[4, 6]", "[8, 4, 3, 3]", new long[] {4, 6}, new long[] {8, 4, 3, 3});
    refused(
        MODEL,
        "AD-DTYPE",
        "tensor '" + Q + ".lora_A.weight' is I32, not a floating type",
        new AdapterFolder().tensor(Q + ".lora_A.weight", DType.I32, TestModel.values(DType.I32, 1, 1, 24), 4, 6)
            .tensor(Q + ".lora_B.weight", 1, 8, 4));
    refused(MODEL, "AD-VALUES", "tensor 'base_model.model.m.lora_A.weight' is NaN at element 3", withValue(3, Double.NaN));
    refused(MODEL, "AD-VALUES", "tensor 'base_model.model.m.lora_A.weight' is -Infinity at element 70001",
        withValue(70_001, Double.NEGATIVE_INFINITY));
    return tests.stream();
  }

  private static AdapterFolder withValue(int index, double value) {
    double[] values = new double[4 * 20_000];
    values[index] = value;
    return new AdapterFolder()
        .tensor("base_model.model.m.lora_A.weight", DType.F32, TestModel.encode(DType.F32, values), 4, 20_000)
        .tensor("base_model.model.m.lora_B.weight", 1, 8, 4);
  }

  private void shapes(String a, String b, long[] aShape, long[] bShape) {
    refused(
        MODEL,
        "AD-SHAPE",
        "module 'm' needs lora_A of rank x in and lora_B of out x rank but has " + a + " and " + b,
        new AdapterFolder().tensor("base_model.model.m.lora_A.weight", 1, aShape).tensor("base_model.model.m.lora_B.weight", 2, bShape));
  }

  @TestFactory
  Stream<DynamicTest> namesThatAreNotUnderstood() {
    unknown("it is no factor, token row, bias or saved weight", "base_model.model.x.lora_A");
    unknown("it is no factor, token row, bias or saved weight", "base_model.model.x.lora_A.mine.weight");
    unknown("it is no factor, token row, bias or saved weight", "base_model.model.x.lora_embedding_A.weight");
    unknown("it is no factor, token row, bias or saved weight", "base_model.model.x.lora_E");
    unknown("it is no factor, token row, bias or saved weight", "base_model.model.x.ia3_l");
    unknown("it is no factor, token row, bias or saved weight", "base_model.model.x");
    unknown("it belongs to a module that modules_to_save does not name", "base_model.model.x.weight");
    unknown("it belongs to a module that modules_to_save does not name", "base_model.model.x.bias");
    unknown("it is a bias of lora_B, which lora_bias does not switch on", Q + ".lora_B.bias");
    unknown("it is of a module from before training, which was saved whole too", "base_model.model.classifier.original_module.dense.bias");
    for (String name
        : List.of("x.lora_A.weight", "lora_unet_down_blocks_0.lora_down.weight", "base_model.x.lora_A.weight", "", "BASE_MODEL.MODEL.x")) {
      unknown("it does not begin with base_model.model.", name);
    }
    refused(
        MODEL,
        "AD-TARGET",
        "tensor 'evil\\u000a[31m\\u202e' is not understood: it does not begin with base_model.model.",
        new AdapterFolder().factors().tensor("evil\n[31m\u202e", 1, 1));
    for (String name : List.of(Q + ".lora_magnitude_vector", Q + ".lora_magnitude_vector.weight", Q + ".lora_magnitude_vector.default")) {
      refused(
          MODEL, "AD-DORA", "tensor '" + name + "' belongs to DoRA, which use_dora does not switch on", new AdapterFolder().factors()
              .tensor(name, 1, 8));
    }
    return tests.stream();
  }

  private void unknown(String why, String name) {
    refused(MODEL, "AD-TARGET", "tensor '" + name + "' is not understood: " + why, new AdapterFolder().factors().tensor(name, 1, 1));
  }

  @TestFactory
  Stream<DynamicTest> whatIsThereTwice() {
    refused(
        MODEL,
        "AD-TARGET",
        "tensor '" + Q + ".lora_A.weight' names a factor that another name stands for too",
        new AdapterFolder().tensor(Q + ".lora_A.default.weight", 1, 4, 6).factors());
    refused(
        MODEL,
        "AD-TARGET",
        "tensor 'base_model.model.lm_head.weight' names a weight that another name stands for too",
        new AdapterFolder()
            .factors()
            .set("modules_to_save", "[\"lm_head\"]")
            .tensor("base_model.model.lm_head.modules_to_save.default.weight", 1, 20, 6)
            .tensor("base_model.model.lm_head.weight", 2, 20, 6));
    refused(
        MODEL,
        "AD-TARGET",
        "tensor 'base_model.model.classifier.modules_to_save.default.dense.bias' names a weight that another name stands for too",
        new AdapterFolder()
            .factors()
            .set("bias", "\"all\"")
            .set("modules_to_save", "[\"classifier\"]")
            .tensor("base_model.model.classifier.dense.bias", 1, 6)
            .tensor("base_model.model.classifier.modules_to_save.default.dense.bias", 2, 6));
    refused(
        MODEL,
        "AD-TARGET",
        "module 'm' has factors both of a linear layer and of an embedding",
        new AdapterFolder()
            .factors("base_model.model.m", 6, 6)
            .tensor("base_model.model.m.lora_embedding_A", 1, 4, 6)
            .tensor("base_model.model.m.lora_embedding_B", 2, 6, 4));
    refused(
        MODEL,
        "AD-TARGET",
        "module 'model.embed_tokens' is stored both whole and as trained token rows",
        new AdapterFolder()
            .factors()
            .set("trainable_token_indices", "[1]")
            .tensor(TOKENS, 1, 1, 6)
            .tensor("base_model.model.model.embed_tokens.weight", 2, 20, 6));
    return tests.stream();
  }

  @TestFactory
  Stream<DynamicTest> savedModulesAndBiases() {
    AdapterFolder plain = new AdapterFolder().factors();
    refused(MODEL, "AD-SAVE", "lacks module 'lm_head', which modules_to_save names", plain.set("modules_to_save", "[\"lm_head\"]"));
    refused(MODEL, "AD-SAVE", "lacks module 'score', which modules_to_save names", new AdapterFolder().factors()
        .set("modules_to_save", "[\"score\"]"));
    refused(
        MODEL,
        "AD-SAVE",
        "lacks module 'classifier', which modules_to_save names",
        new AdapterFolder().factors().set("task_type", "\"SEQ_CLS\"").set("modules_to_save", "[\"classifier\", \"score\"]"));
    refused(
        MODEL,
        "AD-SAVE",
        "lacks module 'classifier', which modules_to_save names",
        new AdapterFolder()
            .factors()
            .set("task_type", "\"CAUSAL_LM\"")
            .set("modules_to_save", "[\"classifier\", \"score\"]")
            .tensor("base_model.model.score.weight", 1, 2, 6));
    config("AD-SAVE", "modules_to_save must be a list but is '\"lm_head\"'", "modules_to_save", "\"lm_head\"");
    config("AD-SAVE", "modules_to_save must list names but has '\"\"'", "modules_to_save", "[\"\"]");
    config("AD-SAVE", "modules_to_save must list names but has '7'", "modules_to_save", "[7]");
    refused(MODEL, "AD-BIAS", "holds no bias, although bias is lora_only", new AdapterFolder().factors().set("bias", "\"lora_only\""));
    refused(MODEL, "AD-BIAS", "holds no bias, although bias is all", new AdapterFolder().factors().set("bias", "\"all\""));
    config("AD-BIAS", "bias must be none, all or lora_only but is 'some'", "bias", "\"some\"");
    config("AD-CONFIG", "use_rslora must be true or false but is '\"yes\"'", "use_rslora", "\"yes\"");
    config("AD-CONFIG", "fan_in_fan_out must be true or false but is '1'", "fan_in_fan_out", "1");
    refused(
        CONFIG,
        "AD-CONFIG",
        "lora_bias must be true or false but is '0'",
        new AdapterFolder().factors().set("lora_bias", "0").tensor(Q + ".lora_B.bias", 1, 8));
    return tests.stream();
  }

  @TestFactory
  Stream<DynamicTest> tokenRows() {
    String unlisted = "module 'model.embed_tokens' has trained token rows, but trainable_token_indices does not list them";
    refused(CONFIG, "AD-TOKENS", unlisted, rows(1));
    refused(CONFIG, "AD-TOKENS", unlisted, rows(1).set("trainable_token_indices", "null"));
    refused(
        MODEL,
        "AD-TOKENS",
        "holds no trained token rows of 'lm_head', which trainable_token_indices names",
        rows(1).set("trainable_token_indices", "{\"lm_head\": [1], \"embed_tokens\": [1]}"));
    refused(
        MODEL,
        "AD-TOKENS",
        "holds no trained token rows, which trainable_token_indices names",
        new AdapterFolder().factors().set("trainable_token_indices", "[1]"));
    refused(CONFIG, "AD-TOKENS", "trainable_token_indices must be a list or an object but is '7'", rows(1)
        .set("trainable_token_indices", "7"));
    for (String index : List.of("-1", "\"1\"", "null", "2147483648", "[1]")) {
      refused(
          CONFIG,
          "AD-TOKENS",
          "token index must be a whole number from 0 to 2^31 - 1 but is '" + index + "'",
          rows(1).set("trainable_token_indices", "[" + index + "]"));
    }
    refused(CONFIG, "AD-TOKENS", "token index 5 occurs twice in trainable_token_indices", rows(2).set("trainable_token_indices", "[5, 5]"));
    refused(MODEL, "AD-SHAPE", "tensor '" + TOKENS + "' is [2, 6] but 3 tokens are trained", rows(2)
        .set("trainable_token_indices", "[1, 2, 3]"));
    return tests.stream();
  }

  private static AdapterFolder rows(int count) {
    return new AdapterFolder().factors().tensor(TOKENS, 1, count, 6);
  }

  @TestFactory
  Stream<DynamicTest> configurationsThatAreNoJson() {
    String good = "{\"peft_type\": \"LORA\", \"r\": 4, \"lora_alpha\": 8}";
    text("is not a JSON object", new byte[0]);
    text("is not a JSON object", "[]".getBytes(StandardCharsets.UTF_8));
    text("is not a JSON object", "\"LORA\"".getBytes(StandardCharsets.UTF_8));
    text("is not UTF-8", new byte[] {'{', '"', (byte) 0xe9, '"', ':', '1', '}'});
    text("is not UTF-8", good.getBytes(StandardCharsets.UTF_16));
    text("is not", good.getBytes(Charset.forName("UTF-32")));
    text("is not JSON: '", ("\ufeff" + good).getBytes(StandardCharsets.UTF_8));
    text("is not JSON: '", (good + "x").getBytes(StandardCharsets.UTF_8));
    text("is not JSON: '", (good + good).getBytes(StandardCharsets.UTF_8));
    text("is not JSON: '", good.replace("}", ", \"r\": 8}").getBytes(StandardCharsets.UTF_8));
    text("is not JSON: '", good.replace("\"r\"", "'r'").getBytes(StandardCharsets.UTF_8));
    text("is not JSON: '", "[".repeat(1 << 20).getBytes(StandardCharsets.UTF_8));
    text("is longer than 16777216 bytes", " ".repeat((16 << 20) + 1).getBytes(StandardCharsets.UTF_8));
    return tests.stream();
  }

  private void text(String message, byte[] bytes) {
    tests.add(
        DynamicTest.dynamicTest(
            tests.size() + " " + message,
            () -> {
              Path folder = new AdapterFolder().factors().saveTo(dir.resolve("adapter"));
              Files.write(folder.resolve(CONFIG), bytes);
              MalformedModelException refusal = assertThrows(MalformedModelException.class, () -> PeftAdapter.open(folder));
              assertEquals("AD-CONFIG", refusal.rule());
              assertTrue(refusal.getMessage().startsWith("[" + folder.resolve(CONFIG) + "] " + message), refusal::getMessage);
              assertTrue(refusal.getMessage().length() < 500, refusal::getMessage);
            }));
  }

  @Test
  void filesThatAreMissingAreNamed() throws IOException {
    Path folder = new AdapterFolder().factors().saveTo(dir.resolve("adapter"));
    Files.delete(folder.resolve(MODEL));
    assertRefused(MODEL, "AD-MODEL", "does not exist", folder);
    Files.writeString(folder.resolve("adapter_model.bin"), "pickle");
    assertRefused(MODEL, "AD-MODEL", "does not exist; adapter_model.bin beside it is a pickle, which is not read", folder);
    Files.delete(folder.resolve(CONFIG));
    assertRefused(CONFIG, "AD-CONFIG", "does not exist, so the folder is no PEFT adapter", folder);
    assertRefused(CONFIG, "AD-CONFIG", "does not exist, so the folder is no PEFT adapter", dir.resolve("gone"));
    Files.createDirectory(folder.resolve(CONFIG));
    IOException refusal = assertThrows(IOException.class, () -> PeftAdapter.open(folder));
    assertEquals("[" + folder.resolve(CONFIG) + "] is a folder, not a file", refusal.getMessage());
  }

  @Test
  void weightsThatAreCutAreRefusedWithTheRuleTheyBreak() throws IOException {
    Path folder = new AdapterFolder().factors().saveTo(dir.resolve("adapter"));
    byte[] whole = Files.readAllBytes(folder.resolve(MODEL));
    for (int length = 0; length < whole.length; length += 7) {
      Files.write(folder.resolve(MODEL), Arrays.copyOf(whole, length));
      MalformedModelException refusal = assertThrows(MalformedModelException.class, () -> PeftAdapter.open(folder));
      assertEquals("AD-MODEL", refusal.rule());
      assertTrue(refusal.getMessage().startsWith("[" + folder.resolve(MODEL) + "] is no whole safetensors file: "), refusal::getMessage);
      assertTrue(((MalformedModelException) refusal.getCause()).rule().startsWith("ST-"));
    }
    assertEquals(List.of(), Trees.openFiles(dir));
  }
}
