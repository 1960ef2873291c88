package io.portllm.io.internal.safetensors;

import static io.portllm.io.internal.safetensors.Fixtures.file;
import static io.portllm.io.internal.safetensors.Fixtures.tensor;
import static io.portllm.io.internal.safetensors.Fixtures.write;
import static io.portllm.io.internal.safetensors.Fixtures.writeShards;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.Shard;
import io.portllm.SideFile;
import io.portllm.TensorInfo;
import io.portllm.io.Checkpoints;
import io.portllm.io.MalformedModelException;
import io.portllm.io.internal.files.SourceFiles;
import java.io.IOException;
import java.io.InputStream;
import java.io.RandomAccessFile;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.file.FileSystem;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(60)
class SafetensorsModelTest {
  private static final TensorInfo A = tensor("a", DType.F32, 2, 2);
  private static final TensorInfo B = tensor("b", DType.U8, 3);

  @TempDir Path temp;
  private Path folder;

  @BeforeEach
  void makeFolder() throws IOException {
    folder = Files.createDirectory(temp.resolve("model"));
  }

  @Test
  void aSingleFileIsAModelOfOneShardWithoutConfiguration() throws IOException {
    write(folder.resolve("config.json"), "{\"a\":1}");
    Path path = write(folder.resolve("my.safetensors"), file(10, Map.of("format", "pt"), A, B));
    try (ModelVersion model = Checkpoints.open(path)) {
      assertEquals(List.of(new Shard("my.safetensors", Map.of("format", "pt"), List.of(A, B))), model.shards());
      assertEquals(List.of(A, B), model.tensors());
      assertEquals(Optional.of(B), model.find("b"));
      assertEquals(Optional.empty(), model.find("c"));
      assertEquals(Map.of(), model.config());
      assertEquals(List.of(), model.sideFiles());
      assertEquals(path.toString(), model.name());
      ByteBuffer bytes = ByteBuffer.allocate(5).position(1).limit(4);
      model.read(B, 0, bytes);
      assertArrayEquals(new byte[] {0, 26, 27, 28, 0}, bytes.array());
      model.verifyUnchanged();
    }
  }

  @Test
  void aFolderKeepsItsConfigurationAndSideFiles() throws IOException {
    write(folder.resolve("model.safetensors"), file(0, Map.of(), A));
    write(
        folder.resolve("config.json"),
        "{\"rope\":{\"theta\":10000.0,\"x\":null},\"arch\":[\"Llama\"],\"tie\":true,\"e\":{},\"eps\":1e-05}");
    for (String name :
        List.of("tokenizer.json", "LICENSE", "1_Pooling/config.json", "1_Pooling/deep/er", ".gitattributes", ".git/x", "1_Pooling/.h",
            "pytorch_model.bin", "pytorch_model.bin.index.json", "x.PT", "onnx/model.onnx", "onnx/model.onnx_data", "a.gguf", "tf_model.h5",
            "flax_model.msgpack", "old/model.safetensors", ShardIndex.FILE_NAME, "x.pth", "x.ckpt")) {
      write(folder.resolve(name), name);
    }
    try (SafetensorsModel model = SafetensorsModel.openFolder(folder)) {
      assertEquals(
          List.of("1_Pooling/config.json", "LICENSE", "config.json", "tokenizer.json"),
          model.sideFiles().stream().map(SideFile::name).toList());
      assertEquals(
          Map.of("rope.theta", "10000.0", "rope.x", "null", "arch.0", "Llama", "tie", "true", "eps", "1e-05"), model.config());
      try (InputStream in = model.sideFiles().get(0).open()) {
        assertEquals("1_Pooling/config.json", new String(in.readAllBytes()));
      }
      assertEquals(folder, model.path());
    }
  }

  @Test
  void shardsComeInTheOrderOfTheirNames() throws IOException {
    writeShards(folder, 12);
    try (SafetensorsModel model = SafetensorsModel.openFolder(folder)) {
      assertEquals(12, model.shards().size());
      assertEquals("model-00001-of-00012.safetensors", model.shards().get(0).fileName());
      assertEquals("t11", model.tensors().get(11).name());
      for (int i = 0; i < 12; i++) {
        ByteBuffer bytes = ByteBuffer.allocate(4);
        model.read(model.find("t" + i).orElseThrow(), 0, bytes);
        assertEquals(i, bytes.get(0));
      }
    }
  }

  @Test
  void theIndexKeepsWhatElseItSays() throws IOException {
    write(folder.resolve("x.safetensors"), file(0, Map.of(), A));
    write(
        folder.resolve(ShardIndex.FILE_NAME),
        "{\"metadata\":{\"total_size\":16.0,\"total_parameters\":4,\"n\":null,\"l\":[true,\"s\",{}]},"
            + "\"weight_map\":{\"a\":\"x.safetensors\"}}");
    try (SafetensorsModel model = SafetensorsModel.openFolder(folder)) {
      assertEquals(List.of("total_size", "total_parameters", "n", "l"), List.copyOf(model.indexMetadata().keySet()));
      assertEquals(new BigDecimal("16.0"), model.indexMetadata().get("total_size"));
      assertEquals(BigInteger.valueOf(4), model.indexMetadata().get("total_parameters"));
      assertEquals(List.of(true, "s", Map.of()), model.indexMetadata().get("l"));
    }
  }

  @Test
  void modelSafetensorsComesBeforeAnIndex() throws IOException {
    writeShards(folder, 2);
    write(folder.resolve("model.safetensors"), file(0, Map.of(), A));
    try (SafetensorsModel model = SafetensorsModel.openFolder(folder)) {
      assertEquals(List.of(A), model.tensors());
      assertEquals(Map.of(), model.indexMetadata());
    }
  }

  @Test
  void aSingleFileOfAnotherNameIsFound() throws IOException {
    write(folder.resolve("other.safetensors"), file(0, Map.of(), A));
    try (SafetensorsModel model = SafetensorsModel.openFolder(folder)) {
      assertEquals("other.safetensors", model.shards().get(0).fileName());
    }
  }

  @Test
  void aFolderWithoutModelSaysWhatWasLookedFor() throws IOException {
    String looked =
        "[" + folder + "] expected model.safetensors, model.safetensors.index.json or a single .safetensors file, but the folder holds ";
    assertRefused("IX-NONE", looked + "no .safetensors file (IX-NONE)");
    write(folder.resolve("pytorch_model.bin"), "x");
    assertRefused("IX-NONE", looked + ".bin files (pickle), which are not read (IX-NONE)");
    write(folder.resolve("adapter_model.safetensors"), file(0, Map.of(), A));
    assertRefused("IX-NONE", looked + "a PEFT adapter (IX-NONE)");
    Files.delete(folder.resolve("adapter_model.safetensors"));
    write(folder.resolve("p.safetensors"), file(0, Map.of(), A));
    write(folder.resolve("q.safetensors"), file(0, Map.of(), A));
    assertRefused("IX-NONE", looked + "2 .safetensors files, 'p.safetensors' the first of them, and no index (IX-NONE)");
    assertThrows(NoSuchFileException.class, () -> Checkpoints.open(folder.resolve("none")));
  }

  @Test
  void anIndexCannotLeaveTheFolder() throws IOException {
    Path secret = write(temp.resolve("outside/secret.safetensors"), file(0, Map.of(), A));
    for (String name :
        List.of("../outside/secret.safetensors", "sub/../../outside/secret.safetensors", secret.toString(), "./x.safetensors", "..", ".",
            "x.safetensors/", "a//x.safetensors", "a\\\\x.safetensors", "C:x.safetensors", "file:///x.safetensors", "~/x.safetensors",
            "x\\u0000.safetensors", "x\\n.safetensors", "x".repeat(300) + ".safetensors", "x.bin", "x", ShardIndex.FILE_NAME)) {
      writeIndex("{\"a\":\"" + name + "\"}");
      MalformedModelException e = assertThrows(MalformedModelException.class, () -> Checkpoints.open(folder), name);
      assertEquals("IX-PATH", e.rule(), e::getMessage);
      assertTrue(e.getMessage().contains("tensor 'a': the file name '"), e::getMessage);
    }
    writeIndex("{\"a\":\"pytorch_model-00001.bin\"}");
    assertTrue(assertThrows(IOException.class, () -> Checkpoints.open(folder)).getMessage().contains("(pickle) that is not read"));
  }

  @Test
  void brokenIndexesAreRefusedByTheirRule() throws IOException {
    write(folder.resolve("x.safetensors"), file(0, Map.of(), A));
    write(folder.resolve("y.safetensors"), file(0, Map.of(), B));
    Files.createDirectory(folder.resolve("dir.safetensors"));
    Map<String, String> rules =
        Map.ofEntries(
            Map.entry("", "IX-JSON"), Map.entry("{", "IX-JSON"), Map.entry("\uFEFF{}", "IX-JSON"), Map.entry("{}{}", "IX-JSON"),
            Map.entry("[[".repeat(50_000), "IX-JSON"), Map.entry("null", "IX-ROOT"), Map.entry("{}", "IX-MAP"),
            Map.entry("{\"weight_map\":null}", "IX-MAP"), Map.entry("{\"weight_map\":{}}", "IX-MAP"),
            Map.entry("{\"weight_map\":{\"a\":1}}", "IX-VALUE"), Map.entry("{\"weight_map\":{\"a\":null}}", "IX-VALUE"),
            Map.entry("{\"weight_map\":{\"a\":\"\"}}", "IX-VALUE"),
            Map.entry("{\"weight_map\":{\"a\":\"x.safetensors\",\"a\":\"x.safetensors\"}}", "IX-DUP"),
            Map.entry("{\"weight_map\":{\"a\":\"x.safetensors\",\"\\u0061\":\"x.safetensors\"}}", "IX-DUP"),
            Map.entry("{\"metadata\":[],\"weight_map\":{\"a\":\"x.safetensors\"}}", "IX-META"),
            Map.entry("{\"weight_map\":{\"a\":\"none.safetensors\"}}", "IX-FILE"),
            Map.entry("{\"weight_map\":{\"a\":\"dir.safetensors\"}}", "IX-FILE"),
            Map.entry("{\"weight_map\":{\"a\":\"y.safetensors\"}}", "IX-TENSOR"),
            Map.entry("{\"weight_map\":{\"a\":\"x.safetensors\",\"c\":\"y.safetensors\"}}", "IX-TENSOR"));
    for (Map.Entry<String, String> rule : rules.entrySet()) {
      write(folder.resolve(ShardIndex.FILE_NAME), rule.getKey());
      MalformedModelException e = assertThrows(MalformedModelException.class, () -> Checkpoints.open(folder));
      assertEquals(rule.getValue(), e.rule(), e::getMessage);
    }
  }

  @Test
  void indexAndShardsThatDisagreeAreNamed() throws IOException {
    write(folder.resolve("x.safetensors"), file(0, Map.of(), A));
    write(folder.resolve("y.safetensors"), file(0, Map.of(), B));
    String index = "[" + folder.resolve(ShardIndex.FILE_NAME) + "] ";

    writeIndex("{\"a\":\"y.safetensors\",\"b\":\"x.safetensors\"}");
    assertRefused("IX-TENSOR", index + "tensor 'a': expected in 'y.safetensors', found in 'x.safetensors' (IX-TENSOR)");

    write(folder.resolve("y.safetensors"), file(0, Map.of(), A, B));
    writeIndex("{\"a\":\"x.safetensors\",\"b\":\"y.safetensors\"}");
    assertRefused(
        "IX-TENSOR",
        "[" + folder.resolve("y.safetensors") + "] tensor 'a' is in this file and in 'x.safetensors' (IX-TENSOR)");

    write(folder.resolve("y.safetensors"), file(0, Map.of(), B, tensor("c", DType.U8, 1)));
    assertRefused("IX-TENSOR", index + "tensor 'c': it is in 'y.safetensors' but the index does not list it (IX-TENSOR)");

    write(folder.resolve("y.safetensors"), new byte[0]);
    assertRefused(
        "IX-FILE",
        "[" + folder.resolve("y.safetensors") + "] the index lists this file, which is no whole safetensors file: expected the 8 bytes of a"
            + " header length, found a file of 0 bytes (ST-LEN-8, byte 0) (IX-FILE, byte 0)");
  }

  @Test
  void pipesAreRefusedWithoutWaiting() throws Exception {
    Path pipe = folder.resolve("x.safetensors");
    boolean made;
    try {
      made = new ProcessBuilder("mkfifo", pipe.toString()).start().waitFor() == 0;
    } catch (IOException e) {
      made = false;
    }
    assumeTrue(made, "no mkfifo here");
    writeIndex("{\"a\":\"x.safetensors\"}");
    assertEquals("IX-FILE", assertThrows(MalformedModelException.class, () -> Checkpoints.open(folder)).rule());
    Files.delete(folder.resolve(ShardIndex.FILE_NAME));
    assertThrows(IOException.class, () -> Checkpoints.open(folder));
    assertThrows(IOException.class, () -> Checkpoints.open(pipe));
  }

  @Test
  void theHubsCacheOpensThroughItsLinks() throws IOException {
    Path repository = temp.resolve("hub/models--org--name");
    Path snapshot = Files.createDirectories(repository.resolve("snapshots/abc123"));
    Path scratch = temp.resolve("scratch");
    writeShards(scratch, 3);
    write(scratch.resolve("config.json"), "{\"a\":1}");
    write(scratch.resolve("sub_tokenizer.json"), "{}");
    int n = 0;
    for (Path file : list(scratch)) {
      Path blob = repository.resolve("blobs/hash" + n++);
      Files.createDirectories(blob.getParent());
      Files.move(file, blob);
      link(snapshot.resolve(file.getFileName()), Path.of("../../blobs").resolve(blob.getFileName()));
    }
    Path linkToSnapshot = temp.resolve("current");
    link(linkToSnapshot, snapshot);
    for (Path path : List.of(snapshot, linkToSnapshot)) {
      try (ModelVersion model = Checkpoints.open(path)) {
        assertEquals(3, model.tensors().size());
        assertEquals(Map.of("a", "1"), model.config());
        assertEquals(List.of("config.json", "sub_tokenizer.json"), model.sideFiles().stream().map(SideFile::name).toList());
        ByteBuffer bytes = ByteBuffer.allocate(4);
        model.read(model.tensors().get(2), 0, bytes);
        assertEquals(2, bytes.get(0));
      }
    }
    write(temp.resolve("hub/models--other/blobs/x"), "{}");
    link(snapshot.resolve("stolen.json"), Path.of("../../../models--other/blobs/x"));
    assertEquals("IX-PATH", assertThrows(MalformedModelException.class, () -> Checkpoints.open(snapshot)).rule());
  }

  @Test
  void linksOutOfTheFolderAreRefused() throws IOException {
    Path outside = write(temp.resolve("outside/secret.safetensors"), file(0, Map.of(), A));
    write(folder.resolve("x.safetensors"), file(0, Map.of(), A));
    writeIndex("{\"a\":\"x.safetensors\"}");
    for (String name : List.of("x.safetensors", ShardIndex.FILE_NAME, "config.json", "tokenizer.json", "sub")) {
      Path entry = folder.resolve(name);
      Path kept = temp.resolve("kept");
      if (Files.exists(entry)) {
        Files.move(entry, kept);
      }
      link(entry, name.equals("sub") ? outside.getParent() : outside);
      MalformedModelException e = assertThrows(MalformedModelException.class, () -> Checkpoints.open(folder), name);
      assertEquals("IX-PATH", e.rule(), e::getMessage);
      assertTrue(e.getMessage().contains("outside the model folder"), e::getMessage);
      Files.delete(entry);
      if (Files.exists(kept)) {
        Files.move(kept, entry);
      }
    }
    link(folder.resolve("model.safetensors"), outside);
    assertEquals("IX-PATH", assertThrows(MalformedModelException.class, () -> Checkpoints.open(folder)).rule());
    Files.delete(folder.resolve("model.safetensors"));
    link(folder.resolve("model.safetensors"), Path.of("model.safetensors"));
    assertEquals("IX-FILE", assertThrows(MalformedModelException.class, () -> Checkpoints.open(folder)).rule());
    Files.delete(folder.resolve("model.safetensors"));
    link(folder.resolve("dangling.json"), Path.of("none"));
    assertEquals("IX-FILE", assertThrows(MalformedModelException.class, () -> Checkpoints.open(folder)).rule());
  }

  @Test
  void linksWithinTheFolderAreFollowed() throws IOException {
    write(folder.resolve("real.safetensors"), file(0, Map.of(), A));
    link(folder.resolve("model.safetensors"), Path.of("real.safetensors"));
    try (ModelVersion model = Checkpoints.open(folder)) {
      assertEquals(List.of(A), model.tensors());
    }
  }

  @Test
  void aSideFileThatBecomesALinkIsNotRead() throws IOException {
    write(folder.resolve("model.safetensors"), file(0, Map.of(), A));
    Path side = write(folder.resolve("tokenizer.json"), "{}");
    Path secret = write(temp.resolve("secret"), "secret");
    try (ModelVersion model = Checkpoints.open(folder)) {
      Files.delete(side);
      link(side, secret);
      assertThrows(MalformedModelException.class, () -> model.sideFiles().get(0).open());
    }
  }

  @Test
  void brokenConfigurationsAreRefused() throws IOException {
    write(folder.resolve("model.safetensors"), file(0, Map.of(), A));
    for (String text :
        List.of("", "[]", "{", "{}x", "{\"a\":1,\"a\":2}", "{\"a.b\":1,\"a\":{\"b\":2}}",
            "{\"a\":" + "[".repeat(100) + "]".repeat(100) + "}",
            "{\"a\":\"\\ud800\"}", "{'a':1}", "{\"" + "k".repeat(100_000) + "\":[" + "1,".repeat(1000) + "1]}")) {
      write(folder.resolve("config.json"), text);
      assertEquals("CF-JSON", assertThrows(MalformedModelException.class, () -> Checkpoints.open(folder), text).rule());
    }
    try (RandomAccessFile sparse = new RandomAccessFile(folder.resolve("config.json").toFile(), "rw")) {
      sparse.setLength(1L << 40);
    }
    assertEquals("CF-JSON", assertThrows(MalformedModelException.class, () -> Checkpoints.open(folder)).rule());
  }

  @Test
  void configurationsMayHoldNumbersThatPythonWrites() throws IOException {
    write(folder.resolve("model.safetensors"), file(0, Map.of(), A));
    write(folder.resolve("config.json"), "{\"time_step_limit\":[0.0,Infinity],\"x\":-Infinity,\"y\":NaN}");
    try (ModelVersion model = Checkpoints.open(folder)) {
      assertEquals(Map.of("time_step_limit.0", "0.0", "time_step_limit.1", "Infinity", "x", "-Infinity", "y", "NaN"), model.config());
    }
  }

  @Test
  void readsAreCheckedAgainstTheTensor() throws IOException {
    Path path = write(folder.resolve("model.safetensors"), file(0, Map.of(), A, B, tensor("n", DType.F4, 4)));
    SafetensorsModel model = SafetensorsModel.openFile(path);
    for (long[] range : new long[][] {{-4, 4}, {0, 17}, {16, 1}, {12, 5}, {Long.MAX_VALUE - 3, 4}, {1, 4}, {2, 2}}) {
      ByteBuffer bytes = ByteBuffer.allocate((int) range[1]);
      assertThrows(IllegalArgumentException.class, () -> model.read(A, range[0], bytes), () -> range[0] + " " + range[1]);
      assertEquals(0, bytes.position());
    }
    ByteBuffer one = ByteBuffer.allocate(1);
    assertThrows(IllegalArgumentException.class, () -> model.read(tensor("c", DType.U8, 1), 0, one));
    assertThrows(IllegalArgumentException.class, () -> model.read(tensor("a", DType.I32, 2, 2), 0, one));
    model.read(A, 16, ByteBuffer.allocate(0));
    model.read(tensor("n", DType.F4, 4), 1, one);
    assertEquals(20, one.get(0));

    model.close();
    model.close();
    assertEquals(path + " was closed", assertThrows(IllegalStateException.class, () -> model.read(A, 0, one.clear())).getMessage());
  }

  @Test
  void aFileCutAfterOpeningIsNamedWithItsTensor() throws IOException {
    Path path = write(folder.resolve("model.safetensors"), file(0, Map.of(), A, B));
    try (ModelVersion model = Checkpoints.open(folder)) {
      long size = Files.size(path);
      try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
        file.setLength(size - 4);
      }
      IOException e = assertThrows(IOException.class, () -> model.read(B, 0, ByteBuffer.allocate(3)));
      assertEquals(
          "[" + path + "] tensor 'b': the file changed since it was opened: it had " + size
              + " bytes and ends before byte " + (size - 3) + " now",
          e.getMessage());
      assertThrows(IOException.class, model::verifyUnchanged);
    }
  }

  @Test
  void aThousandShardsTakeFewHandles() throws IOException {
    Path handles = Path.of("/proc/self/fd");
    assumeTrue(Files.isDirectory(handles), "no /proc/self/fd here");
    int count = 1000;
    writeShards(folder, count);
    try (ModelVersion model = Checkpoints.open(folder)) {
      assertTrue(open(handles) <= SourceFiles.MOST_HANDLES, () -> "handles after opening");
      ByteBuffer bytes = ByteBuffer.allocate(4);
      for (int round = 0; round < 2; round++) {
        for (int i = 0; i < count; i++) {
          int which = i * 389 % count;
          model.read(model.find("t" + which).orElseThrow(), 0, bytes.clear());
          assertEquals((byte) which, bytes.get(0));
        }
      }
      assertEquals(SourceFiles.MOST_HANDLES, open(handles));
    }
    assertEquals(0, open(handles));
  }

  @Test
  void refusalsLeaveNoHandleOpen() throws IOException {
    Path handles = Path.of("/proc/self/fd");
    assumeTrue(Files.isDirectory(handles), "no /proc/self/fd here");
    writeShards(folder, 5);
    write(folder.resolve("model-00005-of-00005.safetensors"), "broken file");
    assertThrows(MalformedModelException.class, () -> Checkpoints.open(folder));
    assertThrows(MalformedModelException.class, () -> Checkpoints.open(folder.resolve("model-00005-of-00005.safetensors")));
    write(folder.resolve("model.safetensors"), file(0, Map.of(), A));
    write(folder.resolve("config.json"), "x");
    assertThrows(MalformedModelException.class, () -> Checkpoints.open(folder));
    assertEquals(0, open(handles));
  }

  @Test
  void otherFileSystemsAreRead() throws IOException {
    try (FileSystem system = FileSystems.newFileSystem(temp.resolve("m.zip"), Map.of("create", "true"))) {
      Path inside = system.getPath("/model");
      writeShards(inside, 3);
      write(inside.resolve("config.json"), "{\"a\":1}");
      try (ModelVersion model = Checkpoints.open(inside)) {
        ByteBuffer bytes = ByteBuffer.allocate(4);
        model.read(model.tensors().get(2), 0, bytes);
        assertEquals(2, bytes.get(0));
        assertEquals(1, model.sideFiles().size());
        model.verifyUnchanged();
      }
    }
  }

  private void writeIndex(String weightMap) {
    write(folder.resolve(ShardIndex.FILE_NAME), "{\"weight_map\":" + weightMap + "}");
  }

  private void assertRefused(String rule, String message) {
    MalformedModelException e = assertThrows(MalformedModelException.class, () -> Checkpoints.open(folder));
    assertEquals(message, e.getMessage());
    assertEquals(rule, e.rule());
    assertFalse(e.file().isEmpty());
  }

  /** The handles of this process that lead into the temporary folder. */
  private long open(Path handles) throws IOException {
    long count = 0;
    for (Path handle : list(handles)) {
      try {
        if (Files.readSymbolicLink(handle).startsWith(temp.toRealPath())) {
          count++;
        }
      } catch (NoSuchFileException e) {
        // The handle of the listing itself is gone by now.
      }
    }
    return count;
  }

  private static List<Path> list(Path path) throws IOException {
    try (Stream<Path> entries = Files.list(path)) {
      return entries.sorted().toList();
    }
  }

  private static void link(Path link, Path target) throws IOException {
    try {
      Files.createSymbolicLink(link, target);
    } catch (UnsupportedOperationException e) {
      abort("no symbolic links here");
    }
  }
}
