package io.portllm.io.write;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.portllm.DType;
import io.portllm.Fingerprint;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.io.Checkpoints;
import io.portllm.io.WriteOptions;
import io.portllm.io.WriteReport;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermission;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What is written is what was to be written, byte for byte. */
class RoundTripTest {
  private static final String INDEX = "model.safetensors.index.json";
  private static final int CHUNK = 1 << 20;

  @TempDir Path dir;

  private static TestModel sharded() {
    return new TestModel("m")
        .shard("model-00001-of-00002.safetensors", Map.of("format", "pt", "note", "one\nline \"quoted\""))
        .random("z.last", DType.BF16, 1, 1, 5, 3)
        .random("a.first", DType.F32, 2, 1, 7)
        .shard("model-00002-of-00002.safetensors", Map.of())
        .random("scalar", DType.F64, 3, 1)
        .random("none", DType.F16, 4, 1, 0, 8)
        .random("ids", DType.I64, 5, 1000, 4)
        .random("mask", DType.BOOL, 6, 1, 3)
        .config("model_type", "\"llama\"")
        .side("tokenizer.json", "{}")
        .side("1_Pooling/config.json", "{\"pooling\": true}")
        .side("LICENSE", "free");
  }

  @Test
  void aShardedFolderIsWrittenAsItWasRead() throws IOException {
    Path in = sharded().saveTo(dir.resolve("in"));
    Path out = dir.resolve("out");

    try (ModelVersion model = Checkpoints.open(in)) {
      Checkpoints.write(model, out);
    }

    Map<String, String> expected = Trees.contents(in);
    Map<String, String> found = Trees.contents(out);
    assertTrue(expected.remove(INDEX) != null && found.remove(INDEX) != null);
    assertEquals(expected, found);
  }

  @Test
  void theIndexListsEveryTensorAndKeepsWhatElseItSaid() throws IOException {
    TestModel model = sharded();
    Path in = model.saveTo(dir.resolve("in"));
    Files.writeString(in.resolve(INDEX),
        model.index("{\"total_parameters\": 12345678901234567890, \"share\": 0.50, \"total_size\": 1, \"by\": [\"x\", null]}"));

    try (ModelVersion read = Checkpoints.open(in)) {
      Checkpoints.write(read, dir.resolve("out"));
    }

    String text = Files.readString(dir.resolve("out").resolve(INDEX));
    JsonNode index = new ObjectMapper().readTree(text);
    assertEquals("{\"total_parameters\":12345678901234567890,\"share\":0.5,\"total_size\":" + model.totalBytes() + ",\"by\":[\"x\",null]}",
        index.get("metadata").toString());
    Map<String, String> places = new TreeMap<>();
    index.get("weight_map").properties().forEach(entry -> places.put(entry.getKey(), entry.getValue().textValue()));
    assertEquals(
        Map.of(
            "z.last", "model-00001-of-00002.safetensors",
            "a.first", "model-00001-of-00002.safetensors",
            "scalar", "model-00002-of-00002.safetensors",
            "none", "model-00002-of-00002.safetensors",
            "ids", "model-00002-of-00002.safetensors",
            "mask", "model-00002-of-00002.safetensors"),
        places);
    assertTrue(text.endsWith("}\n") && text.indexOf("\"a.first\"") < text.indexOf("\"ids\""), text);
  }

  @Test
  void aSingleFileIsWrittenAsItWasRead() throws IOException {
    Path in = Trio.of(DType.F16).base().saveFile(dir.resolve("in.safetensors"));
    Path out = dir.resolve("out.safetensors");

    try (ModelVersion model = Checkpoints.open(in)) {
      WriteReport report = Checkpoints.write(model, out);
      assertEquals(out, report.output());
      assertEquals(Trio.names().size(), report.tensors());
      assertEquals(model.tensors().stream().mapToLong(tensor -> tensor.bytes()).sum(), report.bytes());
      assertEquals(Map.of(), report.rounding());
    }

    assertArrayEquals(Files.readAllBytes(in), Files.readAllBytes(out));
    assertEquals(List.of("in.safetensors", "out.safetensors"), Trees.names(dir));
  }

  @Test
  void aForeignHeaderKeepsOrderAndMetadata() throws IOException {
    String header =
        " { \"b\":{\"data_offsets\":[4,8],\"shape\":[1],\"dtype\":\"F32\"},\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
            + "\"__metadata__\":{\"z\":\"1\",\"a\":\"2\"}}";
    byte[] text = header.getBytes(StandardCharsets.UTF_8);
    ByteBuffer bytes = ByteBuffer.allocate(8 + text.length + 8).order(ByteOrder.LITTLE_ENDIAN).putLong(text.length).put(text);
    bytes.put(new byte[] {1, 2, 3, 4}).putFloat(2.5f);
    Path in = Files.write(dir.resolve("in.safetensors"), bytes.array());

    try (ModelVersion model = Checkpoints.open(in)) {
      Checkpoints.write(model, dir.resolve("out.safetensors"));
      try (ModelVersion written = Checkpoints.open(dir.resolve("out.safetensors"))) {
        assertEquals(List.of("a", "b"), written.tensors().stream().map(tensor -> tensor.name()).toList());
        assertEquals(Map.of("a", "2", "z", "1"), written.shards().get(0).metadata());
        assertEquals(Fingerprint.of(model), Fingerprint.of(written));
      }
    }
  }

  @Test
  void aPortIsANewBaseWithOtherWeights() throws IOException {
    Trio trio = Trio.of(DType.BF16);
    TestModel newBase =
        trio.newBase().resharded(Trio.names(), 3).side("chat/template.jinja", "{{ newer }}").side("README.md", "newer");
    Path in = newBase.saveTo(dir.resolve("newer"));
    Path out = dir.resolve("out");

    WriteReport report;
    try (ModelVersion base = Checkpoints.open(trio.base().side("base.txt", "of the base").saveTo(dir.resolve("base")));
        ModelVersion tuned = Checkpoints.open(trio.fineTuned().side("tuned.txt", "of the tuned").saveTo(dir.resolve("tuned")));
        ModelVersion newer = Checkpoints.open(in)) {
      report = Checkpoints.write(Patch.from(tuned, base).applyTo(newer), out);
      try (ModelVersion written = Checkpoints.open(out)) {
        assertEquals(newer.shards(), written.shards());
        assertEquals(newer.config(), written.config());
        assertFalse(Fingerprint.of(newer).equals(Fingerprint.of(written)));
      }
    }

    Map<String, String> expected = Trees.contents(in);
    Map<String, String> found = Trees.contents(out);
    assertEquals(expected.keySet(), found.keySet());
    expected.keySet().removeIf(name -> name.contains("safetensors"));
    found.keySet().retainAll(expected.keySet());
    assertEquals(expected, found);
    assertEquals(Set.copyOf(Trio.names()), report.rounding().keySet());
  }

  @Test
  void weightFilesInFoldersStayThere() throws IOException {
    TestModel model =
        new TestModel("m")
            .shard("a/one.safetensors", Map.of())
            .random("x", DType.F32, 1, 1, 3)
            .shard("b/c/two.safetensors", Map.of())
            .random("y", DType.F32, 2, 1, 3);

    Checkpoints.write(model, dir.resolve("out"));

    try (ModelVersion written = Checkpoints.open(dir.resolve("out"))) {
      assertEquals(model.shards(), written.shards());
      assertEquals(Fingerprint.of(model), Fingerprint.of(written));
    }
  }

  @Test
  void oneFileThatOnlyItsIndexNamesKeepsTheIndex() throws IOException {
    for (String free : List.of("{}", "{\"total_size\": 12}")) {
      TestModel model = new TestModel("m").shard("model-00001-of-00001.safetensors", Map.of()).random("x", DType.F32, 1, 1, 3);
      Path in = model.saveTo(dir.resolve("in"));
      Files.writeString(in.resolve(INDEX), model.index(free));

      try (ModelVersion read = Checkpoints.open(in)) {
        Checkpoints.write(read, dir.resolve("out"), WriteOptions.defaults().overwriting());
      }

      JsonNode index = new ObjectMapper().readTree(Files.readAllBytes(dir.resolve("out").resolve(INDEX)));
      assertEquals("{\"metadata\":{\"total_size\":12},\"weight_map\":{\"x\":\"model-00001-of-00001.safetensors\"}}", index.toString());
    }
  }

  @Test
  void aFileOfTheUsualNameGetsNoIndex() throws IOException {
    TestModel model = new TestModel("m").random("x", DType.F32, 1, 1, 3);
    Path in = model.saveTo(dir.resolve("in"));
    // An index that loaders ignore because the single file is there.
    Files.writeString(in.resolve(INDEX), model.index("{\"total_size\": 12}"));

    try (ModelVersion read = Checkpoints.open(in)) {
      Checkpoints.write(read, dir.resolve("out"));
    }

    assertEquals(List.of("model.safetensors"), Trees.names(dir.resolve("out")));
  }

  @Test
  void aModelWithoutTensorsIsAHeader() throws IOException {
    TestModel model = new TestModel("m").shard("model.safetensors", Map.of("format", "pt"));

    WriteReport report = Checkpoints.write(model, dir.resolve("out"));
    Checkpoints.write(model, dir.resolve("out.safetensors"));

    assertEquals(0, report.tensors());
    assertEquals(0, report.bytes());
    for (Path path : List.of(dir.resolve("out"), dir.resolve("out.safetensors"))) {
      try (ModelVersion written = Checkpoints.open(path)) {
        assertEquals(List.of(), written.tensors());
        assertEquals(Map.of("format", "pt"), written.shards().get(0).metadata());
      }
    }
  }

  @Test
  void tensorsWithoutElementsOrDimensionsArePatchedToo() throws IOException {
    TestModel base = new TestModel("b").tensor("scalar", DType.F32, TestModel.encode(DType.F32, 1)).random("none", DType.F32, 1, 1, 4, 0);
    TestModel tuned = new TestModel("t").tensor("scalar", DType.F32, TestModel.encode(DType.F32, 3)).random("none", DType.F32, 1, 1, 4, 0);
    TestModel newer = new TestModel("n").tensor("scalar", DType.F32, TestModel.encode(DType.F32, 10)).random("none", DType.F32, 1, 1, 4, 0);

    Checkpoints.write(Patch.from(tuned, base).applyTo(newer), dir.resolve("out.safetensors"));

    assertTensor(dir.resolve("out.safetensors"), "scalar", TestModel.encode(DType.F32, 12));
    assertTensor(dir.resolve("out.safetensors"), "none", new byte[0]);
  }

  /** Tensors that end just before, at and after the ends of chunks, and elements that a chunk's end would cut. */
  @Test
  void tensorsAcrossChunksAreWholeAndPatchedInEveryElement() throws IOException {
    long[] lengths = {3, CHUNK / 4 - 1, 1, CHUNK / 4 + 1, CHUNK / 2, 0, CHUNK / 4, 5};
    TestModel base = new TestModel("b");
    TestModel tuned = new TestModel("t");
    TestModel newer = new TestModel("n");
    for (int i = 0; i < lengths.length; i++) {
      base.random("f" + i, DType.F32, i, 1, lengths[i]);
      tuned.random("f" + i, DType.F32, 100 + i, 1, lengths[i]);
      newer.random("f" + i, DType.F32, 200 + i, 1, lengths[i]);
      for (TestModel model : List.of(base, tuned, newer)) {
        model.random("u" + i, DType.U8, i, 50, 2 * i + 1);
      }
    }
    for (TestModel model : List.of(base, tuned, newer)) {
      model.random("d", DType.F64, 9, 1, CHUNK / 8 + 3);
    }

    Checkpoints.write(Patch.from(tuned, base).applyTo(newer), dir.resolve("out.safetensors"));

    for (int i = 0; i < lengths.length; i++) {
      ByteBuffer expected = ByteBuffer.wrap(newer.bytes("f" + i).clone()).order(ByteOrder.LITTLE_ENDIAN);
      ByteBuffer was = ByteBuffer.wrap(base.bytes("f" + i)).order(ByteOrder.LITTLE_ENDIAN);
      ByteBuffer is = ByteBuffer.wrap(tuned.bytes("f" + i)).order(ByteOrder.LITTLE_ENDIAN);
      for (int at = 0; at < expected.limit(); at += 4) {
        float change = is.getFloat(at) - was.getFloat(at);
        expected.putFloat(at, expected.getFloat(at) + change);
      }
      assertTensor(dir.resolve("out.safetensors"), "f" + i, expected.array());
      assertTensor(dir.resolve("out.safetensors"), "u" + i, newer.bytes("u" + i));
    }
    assertTensor(dir.resolve("out.safetensors"), "d", newer.bytes("d"));
  }

  @Test
  void twentyThousandTensorsAreWritten() throws IOException {
    TestModel base = new TestModel("b");
    TestModel tuned = new TestModel("t");
    for (int i = 0; i < 20_000; i++) {
      base.tensor("layers." + i + ".weight", DType.F32, TestModel.encode(DType.F32, i));
      tuned.tensor("layers." + i + ".weight", DType.F32, TestModel.encode(DType.F32, 2 * i));
    }

    WriteReport report = Checkpoints.write(Patch.from(tuned, base).applyTo(tuned), dir.resolve("out.safetensors"));

    assertEquals(20_000, report.tensors());
    assertEquals(19_999, report.total().touched());
    try (ModelVersion written = Checkpoints.open(dir.resolve("out.safetensors"))) {
      for (int i = 0; i < 20_000; i++) {
        ByteBuffer bytes = ByteBuffer.allocate(4);
        written.read(written.find("layers." + i + ".weight").orElseThrow(), 0, bytes);
        assertArrayEquals(TestModel.encode(DType.F32, 3 * i), bytes.array());
      }
    }
  }

  @Test
  void filesAndFoldersGetTheUsualMode() throws IOException {
    assumeTrue(dir.getFileSystem().supportedFileAttributeViews().contains("posix"), "no POSIX modes here");
    Set<PosixFilePermission> usualFile = Files.getPosixFilePermissions(Files.createFile(dir.resolve("usual")));
    Set<PosixFilePermission> usualFolder = Files.getPosixFilePermissions(Files.createDirectory(dir.resolve("usuals")));

    Checkpoints.write(sharded(), dir.resolve("out"));
    Checkpoints.write(Trio.of(DType.F32).base(), dir.resolve("out.safetensors"));

    assertEquals(usualFile, Files.getPosixFilePermissions(dir.resolve("out.safetensors")));
    for (Map.Entry<String, String> entry : Trees.contents(dir.resolve("out")).entrySet()) {
      Set<PosixFilePermission> expected = entry.getValue().isEmpty() ? usualFolder : usualFile;
      assertEquals(expected, Files.getPosixFilePermissions(dir.resolve("out").resolve(entry.getKey())), entry.getKey());
    }
    assertEquals(usualFolder, Files.getPosixFilePermissions(dir.resolve("out")));
  }

  @Test
  void severalWeightFilesDoNotFitOne() {
    IOException refusal = assertThrows(IOException.class, () -> Checkpoints.write(sharded(), dir.resolve("out.safetensors")));

    assertEquals("[" + dir.resolve("out.safetensors") + "] is one file, but 'm' has 2 weight files; name a folder", refusal.getMessage());
    assertFalse(Files.exists(dir.resolve("out.safetensors")));
  }

  @Test
  void filesThatWouldCollideOrLieElsewhereAreRefused() throws IOException {
    TestModel twice = new TestModel("m").shard("x.safetensors", Map.of()).random("a", DType.F32, 1, 1, 1)
        .shard("./x.safetensors", Map.of());
    TestModel outside = new TestModel("m").shard("../x.safetensors", Map.of()).random("a", DType.F32, 1, 1, 1);
    TestModel sideOutside = new TestModel("m").random("a", DType.F32, 1, 1, 1).side("../../x", "y");
    TestModel sideTwice = new TestModel("m").random("a", DType.F32, 1, 1, 1).side("model.safetensors", "y");

    for (TestModel model : List.of(twice, outside, sideOutside)) {
      assertThrows(IllegalArgumentException.class, () -> Checkpoints.write(model, dir.resolve("out")));
    }
    assertThrows(IOException.class, () -> Checkpoints.write(sideTwice, dir.resolve("out")));
    assertEquals(List.of(), Trees.names(dir));
  }

  @Test
  void namesOfTensorsCannotForgeThePathOrTheHeader() throws IOException {
    TestModel model = new TestModel("m");
    List<String> names = List.of("../../etc/passwd", "a\"},\"b\":{", "new\nline", "\u202e", "", "x".repeat(4096), "\0", "日本語",
        "__metadata_");
    names.forEach(name -> model.random(name, DType.F32, name.length(), 1, 2));

    Checkpoints.write(model, dir.resolve("out.safetensors"));

    try (ModelVersion written = Checkpoints.open(dir.resolve("out.safetensors"))) {
      assertEquals(names, written.tensors().stream().map(tensor -> tensor.name()).toList());
      assertEquals(Fingerprint.of(model), Fingerprint.of(written));
    }
    for (String impossible : List.of("__metadata__", "\ud800")) {
      TestModel bad = new TestModel("m").random(impossible, DType.F32, 1, 1, 2);
      assertThrows(IllegalArgumentException.class, () -> Checkpoints.write(bad, dir.resolve("bad.safetensors")));
    }
    assertEquals(List.of("out.safetensors"), Trees.names(dir));
    assertEquals(Collections.emptyList(), Trees.openFiles(dir));
  }

  private static void assertTensor(Path file, String name, byte[] expected) throws IOException {
    try (ModelVersion model = Checkpoints.open(file)) {
      ByteBuffer found = ByteBuffer.allocate(expected.length);
      model.read(model.find(name).orElseThrow(), 0, found);
      assertArrayEquals(expected, found.array(), name);
    }
  }
}
