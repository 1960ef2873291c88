package io.portllm.io.internal.gguf;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;

import io.portllm.DType;
import io.portllm.Fingerprint;
import io.portllm.ModelVersion;
import io.portllm.Shape;
import io.portllm.Shard;
import io.portllm.TensorInfo;
import io.portllm.io.Checkpoints;
import io.portllm.io.MalformedModelException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** GGUF models are read whatever they are called and however they are split, and refused where they are not whole. */
class GgufModelTest {
  @TempDir Path dir;

  private static byte[] bytes(ModelVersion model, String tensor) throws IOException {
    TensorInfo info = model.find(tensor).orElseThrow();
    ByteBuffer bytes = ByteBuffer.allocate((int) info.bytes());
    model.read(info, 0, bytes);
    return bytes.array();
  }

  private void assertRefused(String rule, String says, Path path) {
    MalformedModelException refusal = assertThrows(MalformedModelException.class, () -> Checkpoints.open(path).close());
    assertEquals(rule, refusal.rule(), refusal::getMessage);
    assertTrue(refusal.getMessage().contains(says), refusal::getMessage);
  }

  /** Part {@code number} of {@code count}, counted from 1, with one tensor called {@code t<number>}. */
  static GgufBytes part(int number, int count, int tensors) {
    return new GgufBytes()
        .entry("split.no", ValueType.U16, (short) (number - 1))
        .entry("split.count", ValueType.U16, (short) count)
        .entry("split.tensors.count", ValueType.I32, tensors)
        .tensor("t" + number, DType.Q4_0, 2, 32);
  }

  private Path name(int number, int count) {
    return dir.resolve(String.format("m-%05d-of-%05d.gguf", number, count));
  }

  private void writeSet() throws IOException {
    for (int i = 1; i <= 3; i++) {
      part(i, 3, 3).write(name(i, 3));
    }
  }

  @Test
  void everyTypeIsReadWithTorchsShapes() throws IOException {
    try (ModelVersion model = Checkpoints.open(GgufBytes.everything(5).write(dir.resolve("m.gguf")))) {
      assertEquals(GgufBytes.types().length + 3, model.tensors().size());
      for (DType type : GgufBytes.types()) {
        TensorInfo info = model.find(type.name()).orElseThrow();
        assertEquals(new TensorInfo(type.name(), type, Shape.of(2, 3L * type.blockElements())), info);
        assertArrayEquals(GgufBytes.random(info.bytes(), 5 + type.ordinal()), bytes(model, type.name()));
      }
      assertEquals(Shape.of(), model.find("scalar").orElseThrow().shape());
      assertEquals(Shape.of(2, 3, 5), model.find("cube").orElseThrow().shape());
      assertEquals(0, model.find("empty").orElseThrow().bytes());
      assertEquals(Optional.empty(), model.find("none"));
      assertEquals(64, Fingerprint.of(model).digest().length());
    }
  }

  @Test
  void blocksAreReadFromAnyByteAndElementsFromTheirStart() throws IOException {
    try (ModelVersion model = Checkpoints.open(GgufBytes.everything(5).write(dir.resolve("m.gguf")))) {
      TensorInfo blocks = model.find("Q6_K").orElseThrow();
      ByteBuffer some = ByteBuffer.allocate(100);
      model.read(blocks, 77, some);
      assertArrayEquals(Arrays.copyOfRange(bytes(model, "Q6_K"), 77, 177), some.array());
      TensorInfo floats = model.find("F32").orElseThrow();
      assertThrows(IllegalArgumentException.class, () -> model.read(floats, 1, ByteBuffer.allocate(4)));
      assertThrows(IllegalArgumentException.class, () -> model.read(floats, 20, ByteBuffer.allocate(8)));
      assertThrows(IllegalArgumentException.class, () -> model.read(blocks, blocks.bytes() - 99, ByteBuffer.allocate(100)));
      TensorInfo stranger = new TensorInfo("F32", DType.F32, Shape.of(1));
      assertThrows(IllegalArgumentException.class, () -> model.read(stranger, 0, ByteBuffer.allocate(4)));
    }
  }

  @Test
  void aClosedModelIsNotRead() throws IOException {
    ModelVersion model = Checkpoints.open(new GgufBytes().tensor("a", DType.F32, 1).write(dir.resolve("m.gguf")));
    model.close();
    model.close();
    assertThrows(IllegalStateException.class, () -> model.read(model.tensors().get(0), 0, ByteBuffer.allocate(4)));
  }

  @Test
  void tensorsMayLieInAnyOrder() throws IOException {
    byte[] data = GgufBytes.random(96, 1);
    GgufBytes file = new GgufBytes().info("b", 0, 32, 4).info("none", 0, 32, 0).info("a", 0, 0, 8).info("c", 0, 64, 8).data(data);
    try (ModelVersion model = Checkpoints.open(file.write(dir.resolve("m.gguf")))) {
      assertEquals(List.of("b", "none", "a", "c"), model.tensors().stream().map(TensorInfo::name).toList());
      assertArrayEquals(Arrays.copyOfRange(data, 32, 48), bytes(model, "b"));
      assertArrayEquals(Arrays.copyOfRange(data, 0, 32), bytes(model, "a"));
      assertArrayEquals(Arrays.copyOfRange(data, 64, 96), bytes(model, "c"));
    }
  }

  @Test
  void changesAreNoticed() throws IOException {
    Path file = GgufBytes.everything(5).write(dir.resolve("m.gguf"));
    try (ModelVersion model = Checkpoints.open(file)) {
      model.verifyUnchanged();
      Files.setLastModifiedTime(file, FileTime.fromMillis(1));
      assertTrue(assertThrows(IOException.class, model::verifyUnchanged).getMessage().contains("m.gguf"));
    }
  }

  @Test
  void filesAreKnownByNameOrByTheirFirstBytes() throws IOException {
    GgufBytes file = new GgufBytes().tensor("a", DType.F32, 1);
    for (String name : List.of("m.gguf", "sha256-0123")) {
      try (ModelVersion model = Checkpoints.open(file.write(dir.resolve(name)))) {
        assertEquals(List.of(new Shard(name.endsWith(".gguf") ? name : name + ".gguf", Map.of(), model.tensors())), model.shards());
      }
    }
    assertRefused("ST-LEN-MAX", "looks like a GGUF file", file.write(dir.resolve("m.safetensors")));
    assertRefused("GG-MAGIC", "expected the letters GGUF", Files.writeString(dir.resolve("n.gguf"), "something else"));
  }

  @Test
  void aFolderWithOneGgufModelIsThatModel() throws IOException {
    new GgufBytes().tensor("a", DType.F32, 1).write(dir.resolve("m.gguf"));
    Files.writeString(dir.resolve("README.md"), "x");
    try (ModelVersion model = Checkpoints.open(dir)) {
      assertEquals(dir.toString(), model.name());
      assertEquals(1, model.tensors().size());
      assertEquals(List.of(), model.sideFiles());
    }
    new GgufBytes().tensor("a", DType.F32, 1).write(dir.resolve("l.gguf"));
    assertRefused("IX-NONE", "holds 2 GGUF models, 'l.gguf' the first", dir);
  }

  @Test
  void aFolderWithOneSplitModelIsThatModel() throws IOException {
    writeSet();
    try (ModelVersion model = Checkpoints.open(dir)) {
      assertEquals(3, model.shards().size());
    }
  }

  @Test
  void anyPartStandsForTheWholeSet() throws IOException {
    writeSet();
    for (int i = 1; i <= 3; i++) {
      try (ModelVersion model = Checkpoints.open(name(i, 3))) {
        assertEquals(List.of("t1", "t2", "t3"), model.tensors().stream().map(TensorInfo::name).toList());
        assertEquals("m-00002-of-00003.gguf", model.shards().get(1).fileName());
        assertArrayEquals(GgufBytes.random(36, "t2".hashCode()), bytes(model, "t2"));
        model.verifyUnchanged();
      }
    }
  }

  @Test
  void setsThatAreNotWholeAreRefused() throws IOException {
    writeSet();
    Files.delete(name(2, 3));
    assertRefused("GG-SPLIT-FILES", "'m-00002-of-00003.gguf' is missing", name(1, 3));
    byte[] second = part(2, 3, 3).build();
    Files.write(name(2, 3), Arrays.copyOf(second, second.length - 32));
    String cut = "m-00002-of-00003.gguf] the file is part of a split model, but no whole GGUF file: tensor 't2'";
    assertRefused("GG-SPLIT-FILES", cut, name(1, 3));
    part(1, 3, 3).write(name(2, 3));
    assertRefused("GG-SPLIT-NO", "'split.no' must be 1 in this file but is 0", name(1, 3));
    new GgufBytes().tensor("t2", DType.F32, 1).write(name(2, 3));
    assertRefused("GG-SPLIT-NO", "is missing", name(3, 3));
    part(2, 4, 3).write(name(2, 3));
    assertRefused("GG-SPLIT-FILES", "'split.count' must be 3 in this file but is 4", name(1, 3));
    part(2, 3, 3).tensor("t3", DType.F32, 1).write(name(2, 3));
    assertRefused("GG-SPLIT-COUNT", "'split.tensors.count' must be 4 in this file but is 3", name(1, 3));
    part(1, 3, 4).write(name(1, 3));
    assertRefused("GG-SPLIT-DUP", "'t3' is in this file and in 'm-00002-of-00003.gguf'", name(1, 3));
  }

  @Test
  void namesAndNumbersOfPartsMustAgree() throws IOException {
    assertRefused("GG-SPLIT-NAME", "is one of 3", part(1, 3, 3).write(dir.resolve("m.gguf")));
    assertRefused("GG-SPLIT-FILES", "split.count is 3", part(1, 3, 3).write(name(1, 2)));
    assertRefused("GG-SPLIT-FILES", "split.count is missing", new GgufBytes().tensor("t1", DType.F32, 1).write(name(1, 2)));
    GgufBytes text = new GgufBytes().entry("split.count", ValueType.STRING, "2");
    assertRefused("GG-TYPE", "'split.count' must be a whole number", text.write(name(1, 2)));
    try (ModelVersion one = Checkpoints.open(part(1, 1, 1).write(name(1, 1)))) {
      assertEquals(1, one.shards().size());
    }
  }

  @Test
  void aPartThatIsALinkOutOfTheFolderIsRefused() throws IOException {
    writeSet();
    Path elsewhere = Files.createDirectories(dir.resolve("elsewhere")).resolve("x.gguf");
    Path inner = Files.createDirectory(dir.resolve("inner"));
    Files.move(name(2, 3), elsewhere);
    Files.move(name(1, 3), inner.resolve(name(1, 3).getFileName()));
    Files.move(name(3, 3), inner.resolve(name(3, 3).getFileName()));
    try {
      Files.createSymbolicLink(inner.resolve(name(2, 3).getFileName()), elsewhere);
    } catch (UnsupportedOperationException | IOException e) {
      abort("no symbolic links here");
    }
    assertRefused("IX-PATH", "outside the model folder", inner.resolve(name(1, 3).getFileName()));
  }
}
