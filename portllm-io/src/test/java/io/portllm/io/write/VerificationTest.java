package io.portllm.io.write;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.google.common.hash.Hashing;
import io.portllm.DType;
import io.portllm.Fingerprint;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.io.Checkpoints;
import io.portllm.io.MalformedModelException;
import io.portllm.io.PatchFile;
import io.portllm.io.Verification;
import io.portllm.io.WriteOptions;
import io.portllm.io.internal.gguf.GgufBytes;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A record says what an output is, and tells whatever was altered since. */
class VerificationTest {
  private static final WriteOptions RECORDING = WriteOptions.defaults().recording();

  @TempDir Path dir;

  private final Trio trio = Trio.of(DType.F32);

  @AfterEach
  void nothingIsLeft() throws IOException {
    assertEquals(List.of(), Trees.names(dir).stream().filter(name -> name.startsWith(".")).toList());
    assertEquals(List.of(), Trees.openFiles(dir));
  }

  private Path patchFile() throws IOException {
    Path file = dir.resolve("p.patch.safetensors");
    PatchFile.write(Patch.from(trio.fineTuned(), trio.base()).only("*q_proj*"), file, RECORDING);
    return file;
  }

  private Path port(String output) throws IOException {
    Path newer = Files.isDirectory(dir.resolve("newer")) ? dir.resolve("newer") : trio.newBase().saveTo(dir.resolve("newer"));
    Path out = dir.resolve(output);
    try (PatchFile patch = PatchFile.open(patchFile());
        ModelVersion model = Checkpoints.open(newer)) {
      Checkpoints.write(patch.patch().applyTo(model), out, RECORDING);
    }
    return out;
  }

  private static JsonNode json(Path file) throws IOException {
    return new ObjectMapper().readTree(Files.readAllBytes(file));
  }

  @Test
  void aFolderIsAsItWasWritten() throws IOException {
    Verification found = Verification.of(port("out"));

    assertEquals(List.of(), found.differences());
    assertTrue(found.holds());
    assertEquals(List.of("config.json", "model.safetensors", "portllm.json", "tokenizer.json"), Trees.names(dir.resolve("out")));
    try (ModelVersion written = Checkpoints.open(dir.resolve("out"))) {
      assertEquals(Fingerprint.of(written).digest(), found.fingerprint());
    }
  }

  @Test
  void theRecordSaysWhatWasPutOntoWhat() throws IOException {
    JsonNode record = json(port("out").resolve("portllm.json"));

    assertEquals("newer", record.at("/onto/name").asText());
    assertEquals(Fingerprint.of(trio.newBase()).digest(), record.at("/onto/fingerprint").asText());
    assertEquals("(tuned - base) only *q_proj*", record.at("/patches/0/recipe").asText());
    assertEquals(4, record.at("/patches/0/tensors").asInt());
    assertEquals(Fingerprint.of(trio.base()).digest(), record.at("/patches/0/base/fingerprint").asText());
    try (ModelVersion patch = Checkpoints.open(dir.resolve("p.patch.safetensors"))) {
      String seal = patch.shards().get(0).metadata().get("portllm.digest");
      String newer = "{\"name\":\"newer\",\"fingerprint\":\"" + Fingerprint.of(trio.newBase()).digest() + "\"}";
      assertEquals("[" + newer + ",{\"name\":\"p.patch.safetensors\",\"patch\":\"" + seal + "\"}]", record.get("inputs").toString());
    }
    assertFalse(record.toString().contains(dir.toString()));
  }

  /** No patch file says what the base was: it and the fine-tuned model are digested. */
  @Test
  void aPortInOnePassSaysWhichModelsWereRead() throws IOException {
    Path newer = trio.newBase().saveTo(dir.resolve("newer"));
    try (ModelVersion tuned = Checkpoints.open(trio.fineTuned().saveTo(dir.resolve("tuned")));
        ModelVersion base = Checkpoints.open(trio.base().saveTo(dir.resolve("base")));
        ModelVersion onto = Checkpoints.open(newer)) {
      Checkpoints.write(Patch.from(tuned, base).applyTo(onto), dir.resolve("out"), RECORDING);
    }
    JsonNode record = json(dir.resolve("out/portllm.json"));
    Map<String, String> found = new TreeMap<>();
    record.get("inputs").forEach(input -> found.put(input.get("name").asText(), input.get("fingerprint").asText()));
    Map<String, String> expected = new TreeMap<>();
    expected.put("newer", Fingerprint.of(trio.newBase()).digest());
    expected.put("base", Fingerprint.of(trio.base()).digest());
    expected.put("tuned", Fingerprint.of(trio.fineTuned()).digest());
    assertEquals(expected, found);
    assertEquals(expected.get("base"), record.at("/patches/0/base/fingerprint").asText());
    assertEquals(expected.get("newer"), record.at("/onto/fingerprint").asText());
  }

  /** The list that OpenSSF model signing signs: sorted, of each file its SHA-256, and the SHA-256 of those. */
  @Test
  void theStatementListsEachFileAsModelSigningDoes() throws Exception {
    Path out = port("out");
    JsonNode statement = json(out.resolve("portllm.json")).get("statement");

    StringBuilder all = new StringBuilder();
    for (JsonNode resource : statement.at("/predicate/resources")) {
      String digest = Hashing.sha256().hashBytes(Files.readAllBytes(out.resolve(resource.get("name").asText()))).toString();
      assertEquals(digest, resource.get("digest").asText());
      assertEquals("sha256", resource.get("algorithm").asText());
      all.append(digest);
    }
    assertEquals(3 * 64, all.length());
    assertEquals(
        Hashing.sha256().hashBytes(HexFormat.of().parseHex(all)).toString(), statement.at("/subject/0/digest/sha256").asText());
    assertEquals("[\"portllm.json\"]", statement.at("/predicate/serialization/ignore_paths").toString());
  }

  @Test
  void filesHaveTheirRecordBesideThem() throws IOException {
    Path safetensors = port("out.safetensors");
    Path source = GgufBytes.everything(1).write(dir.resolve("in.gguf"));
    Path gguf = dir.resolve("out.gguf");
    try (ModelVersion model = Checkpoints.open(source)) {
      Checkpoints.write(model, gguf, RECORDING);
    }
    for (Path out : List.of(safetensors, gguf)) {
      assertTrue(Files.exists(out.resolveSibling(out.getFileName() + ".portllm.json")));
      assertEquals(List.of(), Verification.of(out).differences());
      byte[] bytes = Files.readAllBytes(out);
      bytes[bytes.length - 20] ^= 4;
      Files.write(out, bytes);
      List<String> differences = Verification.of(out).differences();
      assertEquals(2, differences.size(), differences::toString);
      assertTrue(differences.get(0).startsWith("file '" + out.getFileName() + "' has the SHA-256 "), differences::toString);
      assertTrue(differences.get(1).startsWith("tensor '"), differences::toString);
    }
  }

  @Test
  void aFileThatIsReplacedLosesItsRecordOrGetsAnother() throws IOException {
    Path out = port("out.safetensors");
    Path record = dir.resolve("out.safetensors.portllm.json");
    Checkpoints.write(trio.base(), out, WriteOptions.defaults().overwriting());
    assertFalse(Files.exists(record));
    NoSuchFileException refusal = assertThrows(NoSuchFileException.class, () -> Verification.of(out));
    assertEquals(record + ": there is no record to compare with", refusal.getMessage());

    Checkpoints.write(trio.newBase(), out, RECORDING.overwriting());
    assertTrue(Verification.of(out).holds());
  }

  @Test
  void everyFlippedBitOfTheWeightsIsToldByTensor() throws IOException {
    Path out = port("out");
    Path weights = out.resolve("model.safetensors");
    byte[] good = Files.readAllBytes(weights);
    for (int at = good.length - 1; at > good.length - 4000; at -= 371) {
      byte[] bad = good.clone();
      bad[at] ^= 1;
      Files.write(weights, bad);
      List<String> differences = Verification.of(out).differences();
      assertEquals(2, differences.size(), differences::toString);
      assertTrue(differences.get(1).matches("tensor '.*' has the digest [0-9a-f]{64} but was written with [0-9a-f]{64}"), differences::toString);
    }
    Files.write(weights, new byte[3]);
    List<String> differences = Verification.of(out).differences();
    assertTrue(differences.get(1).startsWith("the model can no longer be read: [" + weights + "]"), differences::toString);
  }

  @Test
  void filesThatAreMissingAlteredOrAddedAreTold() throws IOException {
    Path out = port("out");
    Files.delete(out.resolve("tokenizer.json"));
    Files.writeString(out.resolve("config.json"), "{}");
    Files.writeString(out.resolve("evil.py"), "import os");

    List<String> differences = Verification.of(out).differences();

    assertEquals(3, differences.size(), differences::toString);
    assertTrue(differences.get(0).startsWith("file 'config.json' has the SHA-256 "), differences::toString);
    assertEquals("file 'tokenizer.json' is missing", differences.get(1));
    assertEquals("file 'evil.py' was not written with the others", differences.get(2));
  }

  @Test
  void aRecordThatContradictsItselfIsRefused() throws IOException {
    Path record = port("out").resolve("portllm.json");
    String good = Files.readString(record);
    Map<String, String> bad =
        Map.of(
            "RC-JSON", good.substring(0, good.length() - 5),
            "RC-FORMAT", good.replace("portllm.record", "other"),
            "RC-FIELDS", good.replaceFirst("\"digest\" : \"[0-9a-f]", "\"digest\" : \"X"),
            "RC-DIGEST", good.replaceFirst("\"digest\" : \"[0-9a-f]{4}", "\"digest\" : \"0000"),
            "RC-SIZE", good + " ".repeat(16 << 20));
    for (Map.Entry<String, String> entry : bad.entrySet()) {
      Files.writeString(record, entry.getValue());
      MalformedModelException refusal = assertThrows(MalformedModelException.class, () -> Verification.of(dir.resolve("out")), entry.getKey());
      assertEquals(entry.getKey(), refusal.rule(), refusal::getMessage);
    }
  }

  @Test
  void recordsAreNotCarriedAlongNorChangeWhatIsWritten() throws IOException {
    Path out = port("out");
    Path plain = dir.resolve("plain");
    Path again = dir.resolve("again");
    try (ModelVersion model = Checkpoints.open(out)) {
      Checkpoints.write(model, plain);
      Checkpoints.write(model, again, RECORDING.withThreads(1));
    }
    Map<String, String> expected = Trees.contents(out);
    expected.remove("portllm.json");
    assertEquals(expected, Trees.contents(plain));
    assertTrue(Verification.of(again).holds());
    assertEquals("out", json(again.resolve("portllm.json")).at("/onto/name").asText());
  }

  @Test
  void theRecordDoesNotDependOnThreads() throws IOException {
    byte[] first = Files.readAllBytes(port("out").resolve("portllm.json"));
    try (PatchFile patch = PatchFile.open(dir.resolve("p.patch.safetensors"));
        ModelVersion model = Checkpoints.open(dir.resolve("newer"))) {
      Checkpoints.write(patch.patch().applyTo(model), dir.resolve("out"), RECORDING.overwriting().withThreads(1));
    }
    assertArrayEquals(first, Files.readAllBytes(dir.resolve("out/portllm.json")));
  }
}
