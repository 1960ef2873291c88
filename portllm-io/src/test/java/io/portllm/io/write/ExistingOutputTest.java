package io.portllm.io.write;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;

import io.portllm.DType;
import io.portllm.Fingerprint;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.io.Checkpoints;
import io.portllm.io.PatchFile;
import io.portllm.io.WriteOptions;
import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What is at the target already is kept, or replaced whole when that is asked for. */
class ExistingOutputTest {
  private static final WriteOptions OVERWRITING = WriteOptions.defaults().overwriting();

  @TempDir Path dir;

  private final Trio trio = Trio.of(DType.F32);

  @AfterEach
  void nothingIsLeftBesideTheTarget() throws IOException {
    assertEquals(List.of(), Trees.names(dir).stream().filter(name -> name.startsWith(".")).toList());
    assertEquals(List.of(), Trees.openFiles(dir));
  }

  private void assertRefused(String why, Path output, WriteOptions options) throws IOException {
    Map<String, String> before = Trees.contents(dir);
    FileAlreadyExistsException refusal =
        assertThrows(FileAlreadyExistsException.class, () -> Checkpoints.write(trio.base(), output, options));
    assertEquals(output + ": " + why, refusal.getMessage());
    assertEquals(before, Trees.contents(dir));
  }

  @Test
  void anExistingFileIsRefused() throws IOException {
    Path out = Files.writeString(dir.resolve("out.safetensors"), "old");

    assertRefused("exists, and was not to be overwritten", out, WriteOptions.defaults());
  }

  @Test
  void anExistingFileIsReplacedWhenAsked() throws IOException {
    Path out = Files.writeString(dir.resolve("out.safetensors"), "old");

    Checkpoints.write(trio.base(), out, OVERWRITING);

    assertModel(trio.base(), out);
  }

  @Test
  void anExistingFolderIsRefused() throws IOException {
    Path out = trio.newBase().saveTo(dir.resolve("out"));

    assertRefused("exists, and was not to be overwritten", out, WriteOptions.defaults());
  }

  @Test
  void anExistingFolderIsReplacedWholeWhenAsked() throws IOException {
    Path out = trio.newBase().resharded(Trio.names(), 5).side("old/only.txt", "old").saveTo(dir.resolve("out"));

    Checkpoints.write(trio.base(), out, OVERWRITING);

    assertEquals(List.of("model.safetensors", "tokenizer.json"), Trees.names(out));
    assertModel(trio.base(), out);

    Checkpoints.write(trio.newBase().resharded(Trio.names(), 3), out, OVERWRITING);

    assertEquals(5, Trees.names(out).size());
    assertModel(trio.newBase(), out);
  }

  @Test
  void anEmptyFolderIsFilled() throws IOException {
    Path out = Files.createDirectory(dir.resolve("out"));

    Checkpoints.write(trio.base(), out);

    assertModel(trio.base(), out);
  }

  @Test
  void aFolderWithoutAModelIsNeverReplaced() throws IOException {
    Path out = Files.createDirectory(dir.resolve("out"));
    Files.writeString(out.resolve("thesis.tex"), "years of work");

    assertRefused("is a folder without a .safetensors or .gguf file, and so is not overwritten", out, OVERWRITING);
    assertRefused("exists, and was not to be overwritten", out, WriteOptions.defaults());
  }

  @Test
  void aFolderIsNotReplacedByAFileNorAFileByAFolder() throws IOException {
    Path folder = trio.newBase().saveTo(dir.resolve("out.safetensors"));
    Path file = Files.writeString(dir.resolve("out"), "old");

    assertRefused("is a folder, not a file", folder, OVERWRITING);
    assertRefused("is a file, not a folder", file, OVERWRITING);
  }

  @Test
  void aSymbolicLinkIsNotWrittenThrough() throws IOException {
    Path elsewhere = trio.newBase().saveTo(dir.resolve("elsewhere"));
    Path toFolder = link("toFolder", elsewhere);
    Path toFile = link("to.safetensors", elsewhere.resolve("model.safetensors"));
    Path dangling = link("dangling.safetensors", dir.resolve("nothing"));

    for (Path link : List.of(toFolder, toFile, dangling)) {
      assertRefused("is a symbolic link; name what it points to", link, OVERWRITING);
      assertRefused("is a symbolic link; name what it points to", link, WriteOptions.defaults());
    }
  }

  @Test
  void aMissingParentIsNamed() throws IOException {
    for (String name : List.of("gone/out", "gone/out.safetensors")) {
      NoSuchFileException refusal =
          assertThrows(NoSuchFileException.class, () -> Checkpoints.write(trio.base(), dir.resolve(name), OVERWRITING));
      assertEquals(dir.resolve("gone") + ": the folder of the output does not exist", refusal.getMessage());
    }
    assertEquals(List.of(), Trees.names(dir));
  }

  @Test
  void theRootIsNoOutput() {
    Path root = dir.getRoot();

    IOException refusal = assertThrows(IOException.class, () -> Checkpoints.write(trio.base(), root));

    assertEquals("[" + root + "] cannot be an output", refusal.getMessage());
  }

  @Test
  void aModelCanReplaceTheFolderItIsReadFrom() throws IOException {
    Path in = trio.newBase().resharded(Trio.names(), 3).saveTo(dir.resolve("in"));
    Patch patch = Patch.from(trio.fineTuned(), trio.base());
    Checkpoints.write(patch.applyTo(trio.newBase()), dir.resolve("expected.safetensors"));

    try (ModelVersion model = Checkpoints.open(in)) {
      assertThrows(FileAlreadyExistsException.class, () -> Checkpoints.write(patch.applyTo(model), in));
      Checkpoints.write(patch.applyTo(model), dir.resolve("./in/../in"), OVERWRITING);
    }

    try (ModelVersion expected = Checkpoints.open(dir.resolve("expected.safetensors"))) {
      assertModel(expected, in);
    }
  }

  @Test
  void aModelCanReplaceTheFileItIsReadFromAndHardLinksKeepTheOld() throws IOException {
    Path in = trio.newBase().saveFile(dir.resolve("in.safetensors"));
    Path hard = Files.createLink(dir.resolve("hard.safetensors"), in);
    Patch patch = Patch.from(trio.fineTuned(), trio.base());

    try (ModelVersion model = Checkpoints.open(in)) {
      Checkpoints.write(patch.applyTo(model), in, OVERWRITING);
    }

    assertModel(trio.newBase(), hard);
    try (ModelVersion written = Checkpoints.open(in)) {
      assertTrue(!Fingerprint.of(trio.newBase()).equals(Fingerprint.of(written)));
    }
  }

  @Test
  void anOutputInsideAnInputIsRefused() throws IOException {
    Path base = trio.base().saveTo(dir.resolve("base"));
    Path tuned = trio.fineTuned().saveTo(dir.resolve("tuned"));
    Path newer = trio.newBase().saveTo(dir.resolve("newer"));
    Path alias = link("alias", newer);
    Map<String, String> before = Trees.contents(dir);

    try (ModelVersion first = Checkpoints.open(base);
        ModelVersion second = Checkpoints.open(tuned);
        ModelVersion third = Checkpoints.open(newer)) {
      ModelVersion ported = Patch.from(second, first).applyTo(third);
      for (Path input : List.of(base, tuned, newer)) {
        IOException refusal = assertThrows(IOException.class, () -> Checkpoints.write(ported, input.resolve("out"), OVERWRITING));
        assertEquals("[" + input.resolve("out") + "] lies inside the model that is read, '" + input + "'", refusal.getMessage());
      }
      assertThrows(IOException.class, () -> Checkpoints.write(ported, alias.resolve("out"), OVERWRITING));
      assertThrows(IOException.class, () -> Checkpoints.write(third, newer.resolve("out"), OVERWRITING));
    }

    assertEquals(before, Trees.contents(dir));
  }

  @Test
  void anInputInsideTheOutputIsNotDeletedWithIt() throws IOException {
    Path out = trio.newBase().saveTo(dir.resolve("out"));
    Path base = trio.base().saveTo(out.resolve("base"));
    Path file = out.resolve("tune.patch.safetensors");
    PatchFile.write(Patch.from(trio.fineTuned(), trio.base()), file);
    Map<String, String> before = Trees.contents(dir);

    try (ModelVersion model = Checkpoints.open(base); PatchFile patch = PatchFile.open(file)) {
      IOException refusal = assertThrows(IOException.class, () -> Checkpoints.write(model, out, OVERWRITING));
      assertEquals("[" + out + "] holds what is read, '" + base + "', and so is not overwritten", refusal.getMessage());
      refusal = assertThrows(IOException.class, () -> Checkpoints.write(patch.patch().applyTo(trio.newBase()), out, OVERWRITING));
      assertEquals("[" + out + "] holds what is read, '" + file + "', and so is not overwritten", refusal.getMessage());
    }

    assertEquals(before, Trees.contents(dir));
  }

  @Test
  void whatAppearsAtTheTargetMeanwhileIsKept() throws IOException {
    for (String name : List.of("out", "out.safetensors")) {
      Path out = dir.resolve(name);
      TestModel model = Trio.of(DType.F32).base();
      model.onRead(
          (tensor, offset) -> {
            if (Files.notExists(out)) {
              if (name.equals("out")) {
                trio.newBase().saveTo(out);
              } else {
                trio.newBase().saveFile(out);
              }
            }
          });

      assertThrows(FileAlreadyExistsException.class, () -> Checkpoints.write(model, out, WriteOptions.defaults().withThreads(1)));

      assertModel(trio.newBase(), out);
    }
  }

  private Path link(String name, Path target) throws IOException {
    try {
      return Files.createSymbolicLink(dir.resolve(name), target);
    } catch (UnsupportedOperationException e) {
      return abort("no symbolic links here");
    }
  }

  private static void assertModel(ModelVersion expected, Path path) throws IOException {
    try (ModelVersion found = Checkpoints.open(path)) {
      assertEquals(Fingerprint.of(expected), Fingerprint.of(found));
    }
  }
}
