package io.portllm.io.write;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.common.jimfs.Configuration;
import com.google.common.jimfs.Feature;
import com.google.common.jimfs.Jimfs;
import io.portllm.DType;
import io.portllm.Fingerprint;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.io.Checkpoints;
import io.portllm.io.PatchFile;
import io.portllm.io.WriteOptions;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.FileSystem;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Paths that lie on no disk. */
class OtherFileSystemsTest {
  @TempDir Path dir;

  private final Trio trio = Trio.of(DType.BF16);

  @Test
  void aFileSystemInMemoryHoldsInputsAndOutputs() throws IOException {
    for (Configuration configuration : List.of(Configuration.unix(), Configuration.osX(), Configuration.windows())) {
      try (FileSystem memory = Jimfs.newFileSystem(configuration)) {
        Path home = Files.createDirectories(memory.getPath("models"));
        port(home, home.resolve("out"));
        port(home, home.resolve("out.safetensors"));
        assertEquals(List.of("base", "newer", "out", "out.safetensors", "p.patch.safetensors", "tuned"), Trees.names(home));
      }
    }
  }

  private void port(Path home, Path out) throws IOException {
    trio.newBase().side("sub/x.txt", "x").saveTo(home.resolve("newer"));
    try (ModelVersion base = Checkpoints.open(trio.base().saveTo(home.resolve("base")));
        ModelVersion tuned = Checkpoints.open(trio.fineTuned().saveTo(home.resolve("tuned")));
        ModelVersion newer = Checkpoints.open(home.resolve("newer"))) {
      Patch patch = Patch.from(tuned, base);
      PatchFile.write(patch, home.resolve("p.patch.safetensors"), WriteOptions.defaults().overwriting());
      try (PatchFile file = PatchFile.open(home.resolve("p.patch.safetensors"))) {
        // Twice: first where nothing is, then in place of the first.
        Checkpoints.write(file.patch().applyTo(newer), out);
        Checkpoints.write(file.patch().applyTo(newer), out, WriteOptions.defaults().overwriting());
      }
      try (ModelVersion written = Checkpoints.open(out)) {
        assertEquals(Fingerprint.of(patch.applyTo(newer)), Fingerprint.of(written));
      }
    }
  }

  @Test
  void aFileSystemWhoseChannelsHaveOnePlaceHoldsInputs() throws IOException {
    Configuration objects = Configuration.unix().toBuilder().setSupportedFeatures(Feature.LINKS).build();
    try (FileSystem memory = Jimfs.newFileSystem(objects)) {
      Path home = memory.getPath("/");
      Path target = dir.resolve("out");
      assertThrows(UnsupportedOperationException.class, () -> FileChannel.open(home.resolve("x"), StandardOpenOption.READ));
      try (ModelVersion base = Checkpoints.open(trio.base().saveTo(home.resolve("base")));
          ModelVersion tuned = Checkpoints.open(trio.fineTuned().resharded(trio.fineTuned().names(), 3).saveTo(home.resolve("tuned")));
          ModelVersion newer = Checkpoints.open(trio.newBase().saveTo(home.resolve("newer")))) {
        Checkpoints.write(Patch.from(tuned, base).applyTo(newer), target, WriteOptions.defaults().withThreads(4));
        IOException refusal = assertThrows(IOException.class, () -> Checkpoints.write(newer, home.resolve("out")));
        assertEquals(
            "[/out] lies in an archive or on another file system on which outputs cannot be made whole or not at all",
            refusal.getMessage());
      }
      try (ModelVersion written = Checkpoints.open(target)) {
        assertEquals(Fingerprint.of(Patch.from(trio.fineTuned(), trio.base()).applyTo(trio.newBase())), Fingerprint.of(written));
      }
    }
  }

  @Test
  void anArchiveIsRefusedAsAnOutput() throws IOException {
    try (FileSystem zip = FileSystems.newFileSystem(dir.resolve("models.zip"), Map.of("create", "true"))) {
      for (String name : List.of("/out", "/out.safetensors")) {
        IOException refusal = assertThrows(IOException.class, () -> Checkpoints.write(trio.base(), zip.getPath(name)));
        assertEquals(
            "[" + name + "] lies in an archive or on another file system on which outputs cannot be made whole or not at all",
            refusal.getMessage());
      }
      assertEquals(List.of(), Trees.names(zip.getPath("/")));
    }
  }
}
