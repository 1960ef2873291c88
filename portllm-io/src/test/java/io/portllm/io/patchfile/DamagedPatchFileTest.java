package io.portllm.io.patchfile;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.DType;
import io.portllm.Fingerprint;
import io.portllm.Patch;
import io.portllm.compress.Compression;
import io.portllm.compress.Compressor;
import io.portllm.io.Checkpoints;
import io.portllm.io.MalformedModelException;
import io.portllm.io.PatchFile;
import io.portllm.io.write.Trees;
import io.portllm.io.write.Trio;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** A patch file with one flipped bit, wherever it is, is refused, and nothing is written. */
class DamagedPatchFileTest {
  @TempDir Path dir;

  private final Trio trio = Trio.of(DType.F32);

  private Map<String, Patch> patches() throws IOException {
    Patch full = Patch.from(trio.fineTuned(), trio.base());
    return Map.of(
        "differences", full.scaledBy(0.5),
        "bits", Compressor.of(Compression.Bits.of(4)).compress(full).patch(),
        "few", Compressor.of(Compression.Density.of(0.1)).compress(full).patch(),
        "exact", Patch.exact(trio.fineTuned(), trio.base()));
  }

  /** Whether the file was refused when it was opened. */
  private boolean refusedAtOnce(Path file, String when) throws IOException {
    boolean[] opened = new boolean[1];
    MalformedModelException refusal =
        assertThrows(
            MalformedModelException.class,
            () -> {
              try (PatchFile patch = PatchFile.open(file)) {
                opened[0] = true;
                Checkpoints.write(patch.patch().applyTo(trio.base()), dir.resolve("out"));
              }
            },
            when);
    assertTrue(refusal.getMessage().startsWith("[" + file + "] "), refusal::getMessage);
    assertTrue(!opened[0] || refusal.getMessage().startsWith("[" + file + "] tensor '"), refusal::getMessage);
    assertEquals(List.of(), Trees.openFiles(dir));
    return !opened[0];
  }

  @TestFactory
  Stream<DynamicTest> oneFlippedBitIsRefused() throws IOException {
    List<DynamicTest> tests = new ArrayList<>();
    patches().forEach((name, patch) -> tests.add(DynamicTest.dynamicTest(name, () -> flip(name, patch))));
    return tests.stream();
  }

  private void flip(String name, Patch patch) throws IOException {
    Path good = dir.resolve(name + ".patch.safetensors");
    PatchFile.write(patch, good);
    byte[] bytes = Files.readAllBytes(good);
    int header = (int) ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getLong(0);
    Path bad = dir.resolve("bad.patch.safetensors");
    Random random = new Random(name.hashCode());
    int inHeader = 0;
    for (int i = 0; i < 300; i++) {
      // Two thirds in the header, which is the smaller part.
      int at = i % 3 == 0 ? 8 + header + random.nextInt(bytes.length - 8 - header) : random.nextInt(8 + header);
      int bit = random.nextInt(8);
      byte[] flipped = bytes.clone();
      flipped[at] ^= (byte) (1 << bit);
      Files.write(bad, flipped);
      inHeader += refusedAtOnce(bad, "bit " + bit + " of byte " + at + " of " + name) ? 1 : 0;
    }
    assertTrue(inHeader > 100, inHeader + " refused at once");
    assertFalse(Files.exists(dir.resolve("out")));
  }

  @Test
  void aSealIsWholeOrAbsent() throws IOException {
    Path file = dir.resolve("p.patch.safetensors");
    PatchFile.write(Patch.from(trio.fineTuned(), trio.base()), file);
    String expected;
    try (PatchFile patch = PatchFile.open(file)) {
      expected = Fingerprint.of(patch.patch().applyTo(trio.newBase())).digest();
    }
    String text = Files.readString(file, StandardCharsets.ISO_8859_1);
    for (String key : List.of("portllm.digest\"", "portllm.digests\"")) {
      Files.writeString(file, text.replace(key, "portllm.x" + key.substring(9)), StandardCharsets.ISO_8859_1);
      assertThrows(MalformedModelException.class, () -> PatchFile.open(file), key);
    }
    Files.writeString(file, text, StandardCharsets.ISO_8859_1);
    Files.write(file, Unsealed.bytes(file));
    try (PatchFile patch = assertDoesNotThrow(() -> PatchFile.open(file))) {
      assertEquals(expected, Fingerprint.of(patch.patch().applyTo(trio.newBase())).digest());
    }
  }
}
