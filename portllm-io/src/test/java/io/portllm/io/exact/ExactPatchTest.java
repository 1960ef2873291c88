package io.portllm.io.exact;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.hash.Hashing;
import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.Fingerprint;
import io.portllm.IncompatibleModelException;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.io.Checkpoints;
import io.portllm.io.MalformedModelException;
import io.portllm.io.PatchFile;
import io.portllm.io.WriteOptions;
import io.portllm.io.patchfile.Unsealed;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** An exact patch makes the fine-tuned model of its base, and its inverse the base of the fine-tuned model, and of no other. */
class ExactPatchTest {
  private static final int LONG = 3 * (1 << 16) + 123;

  @TempDir private Path folder;

  private interface Use {
    void accept(ModelVersion base, ModelVersion tuned, Patch patch) throws IOException;
  }

  /** A model with a tensor of every type, of random bits, an empty one and a scalar. */
  private static StoredModel everyType(long seed) {
    Random random = new Random(seed);
    StoredModel model = new StoredModel();
    for (DType type : DType.values()) {
      if (type.isQuantised()) {
        continue;
      }
      byte[] bytes = new byte[8 * 12 * type.bits() / 8];
      random.nextBytes(bytes);
      model.with(type.name().toLowerCase(Locale.ROOT), type, bytes, 8, 12);
    }
    return model.with("empty", DType.F32, new byte[0], 0, 7).with("scalar", DType.BF16, new byte[] {1, (byte) seed});
  }

  /** {@code bytes} with about one word in {@code period} changed a little. */
  private static byte[] perturbed(byte[] bytes, int wordBytes, int period, long seed) {
    Random random = new Random(seed);
    byte[] changed = bytes.clone();
    for (int i = 0; i < bytes.length; i += wordBytes) {
      if (random.nextInt(period) == 0) {
        changed[i] += (byte) (random.nextGaussian() * 3);
      }
    }
    return changed;
  }

  private static byte[] random(int length, long seed) {
    byte[] bytes = new byte[length];
    new Random(seed).nextBytes(bytes);
    return bytes;
  }

  private Path file(String name) {
    return folder.resolve(name + ".safetensors");
  }

  /** Writes both, saves the patch between them, and opens all three. */
  private void withPatch(StoredModel base, StoredModel tuned, Use use) throws IOException {
    base.write(file("base"));
    tuned.write(file("tuned"));
    try (ModelVersion baseModel = Checkpoints.open(file("base")); ModelVersion tunedModel = Checkpoints.open(file("tuned"))) {
      PatchFile.write(Patch.exact(tunedModel, baseModel), file("patch"), WriteOptions.defaults().overwriting());
      try (PatchFile patch = PatchFile.open(file("patch"))) {
        use.accept(baseModel, tunedModel, patch.patch());
      }
    }
  }

  private void assertBothWays(StoredModel base, StoredModel tuned) throws IOException {
    withPatch(
        base,
        tuned,
        (baseModel, tunedModel, patch) -> {
          assertEquals(StoredModel.contents(tunedModel), StoredModel.contents(patch.applyTo(baseModel)));
          assertEquals(StoredModel.contents(baseModel), StoredModel.contents(patch.inverse().applyTo(tunedModel)));
          Patch unsaved = Patch.exact(tunedModel, baseModel);
          assertEquals(StoredModel.contents(tunedModel), StoredModel.contents(unsaved.applyTo(baseModel)));
          assertEquals(StoredModel.contents(baseModel), StoredModel.contents(unsaved.inverse().applyTo(tunedModel)));
        });
  }

  @Test
  void everyTypeGoesBothWays() throws IOException {
    assertBothWays(everyType(1), everyType(2));
  }

  @Test
  void writtenFilesHaveEveryByteOfTheModels() throws IOException {
    withPatch(
        everyType(1),
        everyType(2),
        (base, tuned, patch) -> {
          Checkpoints.write(patch.applyTo(base), file("applied"));
          assertArrayEquals(Files.readAllBytes(file("tuned")), Files.readAllBytes(file("applied")));
          try (ModelVersion applied = Checkpoints.open(file("applied"))) {
            Checkpoints.write(patch.inverse().applyTo(applied), file("undone"));
          }
          assertArrayEquals(Files.readAllBytes(file("base")), Files.readAllBytes(file("undone")));
        });
  }

  @Test
  void signedZerosAndNanPayloadsAreDifferences() throws IOException {
    ByteBuffer floats = ByteBuffer.allocate(16).order(ByteOrder.LITTLE_ENDIAN);
    byte[] base = floats.putInt(0).putInt(0x80000000).putInt(0x7fc00001).putInt(0xffc00000).array().clone();
    byte[] tuned = floats.clear().putInt(0x80000000).putInt(0).putInt(0x7f800001).putInt(0x7fc00000).array();
    assertBothWays(new StoredModel().with("w", DType.F32, base, 4), new StoredModel().with("w", DType.F32, tuned, 4));
  }

  @Test
  void unchangedTensorsHaveNoPayloadAndNoEntry() throws IOException {
    StoredModel base = everyType(1).with("long", DType.BF16, random(2 * LONG, 3), LONG);
    byte[] scalar = {9, 9};
    withPatch(
        base,
        everyType(1).with("long", DType.BF16, random(2 * LONG, 3), LONG).with("scalar", DType.BF16, scalar),
        (baseModel, tunedModel, patch) -> {
          assertEquals(List.of("scalar"), List.copyOf(patch.deltas().keySet()));
          try (ModelVersion stored = Checkpoints.open(file("patch"))) {
            assertEquals(List.of("scalar.0.change"), StoredModel.names(stored));
            assertTrue(stored.tensors().get(0).bytes() <= 11, stored.tensors().toString());
          }
        });
  }

  @Test
  void longTensorsAreSmallWhereLittleChanges() throws IOException {
    byte[] base = random(2 * LONG, 3);
    withPatch(
        new StoredModel().with("long", DType.BF16, base, LONG),
        new StoredModel().with("long", DType.BF16, perturbed(base, 2, 100, 4), LONG),
        (baseModel, tunedModel, patch) -> {
          assertTrue(Files.size(file("patch")) < base.length / 50, Files.size(file("patch")) + " bytes");
          assertEquals(StoredModel.contents(tunedModel), StoredModel.contents(patch.applyTo(baseModel)));
        });
  }

  @Test
  void identicalModelsMakeAPatchWithoutChanges() throws IOException {
    withPatch(
        everyType(1),
        everyType(1),
        (base, tuned, patch) -> {
          assertEquals(Map.of(), patch.deltas());
          assertEquals(StoredModel.contents(base), StoredModel.contents(patch.applyTo(base)));
          assertEquals(StoredModel.contents(base), StoredModel.contents(patch.inverse().applyTo(base)));
        });
  }

  @Test
  void addedRemovedAndReshapedTensorsGoBothWays() throws IOException {
    byte[] base = random(2 * LONG, 3);
    assertBothWays(
        everyType(1)
            .with("reshaped", DType.BF16, base, LONG)
            .with("gone", DType.BF16, base, 1, LONG)
            .with("gone too", DType.I8, new byte[0], 0),
        everyType(1)
            .with("reshaped", DType.BF16, base, 1, LONG)
            .with("bool", DType.U8, random(5, 1), 5)
            .with("new", DType.F16, base, LONG));
  }

  @Test
  void addedTensorsComeLastAndReshapedOnesStayInPlace() throws IOException {
    withPatch(
        new StoredModel().with("a", DType.U8, new byte[2], 2).with("b", DType.U8, new byte[2], 2).with("c", DType.U8, new byte[2], 2),
        new StoredModel().with("new", DType.U8, new byte[] {1}, 1).with("b", DType.U8, new byte[3], 3).with("c", DType.U8, new byte[2], 2),
        (base, tuned, patch) -> {
          assertEquals(List.of("b", "c", "new"), StoredModel.names(patch.applyTo(base)));
          assertEquals(List.of("b", "c", "a"), StoredModel.names(patch.inverse().applyTo(tuned)));
        });
  }

  @Test
  void shardsStayThoseOfTheModelThatIsPatched() throws IOException {
    byte[] bytes = random(2 * LONG, 3);
    byte[] changed = perturbed(bytes, 2, 5, 4);
    Path sharded = Files.createDirectory(folder.resolve("sharded"));
    new StoredModel().with("a", DType.BF16, bytes, LONG).write(sharded.resolve("model-00001-of-00002.safetensors"));
    new StoredModel().with("b", DType.BF16, bytes, LONG).write(sharded.resolve("model-00002-of-00002.safetensors"));
    Files.writeString(
        sharded.resolve("model.safetensors.index.json"),
        "{\"weight_map\": {\"a\": \"model-00001-of-00002.safetensors\", \"b\": \"model-00002-of-00002.safetensors\"}}");
    StoredModel base = new StoredModel().with("b", DType.BF16, bytes, LONG).with("a", DType.BF16, bytes, LONG);
    StoredModel tuned = new StoredModel().with("a", DType.BF16, bytes, LONG).with("b", DType.BF16, changed, LONG);
    withPatch(
        base,
        tuned,
        (baseModel, tunedModel, patch) -> {
          try (ModelVersion shards = Checkpoints.open(sharded)) {
            Checkpoints.write(patch.applyTo(shards), folder.resolve("applied"));
          }
          try (ModelVersion applied = Checkpoints.open(folder.resolve("applied"))) {
            assertEquals(2, applied.shards().size());
            assertEquals(StoredModel.contents(tunedModel), StoredModel.contents(applied));
          }
        });
    assertArrayEquals(
        Files.readAllBytes(sharded.resolve("model-00001-of-00002.safetensors")),
        Files.readAllBytes(folder.resolve("applied").resolve("model-00001-of-00002.safetensors")));
  }

  @Test
  void anyRangeOfElementsCanBeRead() throws IOException {
    byte[] base = random(4 * LONG, 3);
    byte[] tuned = perturbed(base, 4, 3, 4);
    Arrays.fill(tuned, 0, 1 << 18, (byte) 0);
    System.arraycopy(base, 1 << 18, tuned, 1 << 18, 1 << 18);
    withPatch(
        new StoredModel().with("w", DType.F32, base, LONG),
        new StoredModel().with("w", DType.F32, tuned, LONG),
        (baseModel, tunedModel, patch) -> {
          Tensor applied = patch.applyTo(baseModel).tensor("w").orElseThrow();
          Random random = new Random(5);
          for (int i = 0; i < 60; i++) {
            int from = i == 0 ? 0 : random.nextInt(LONG);
            int count = random.nextInt(Math.min(i % 2 == 0 ? 200 : LONG, LONG - from) + 1);
            ByteBuffer found = ByteBuffer.allocate(4 * count);
            applied.read(4L * from, found);
            assertArrayEquals(Arrays.copyOfRange(tuned, 4 * from, 4 * (from + count)), found.array());
          }
          assertThrows(IllegalArgumentException.class, () -> applied.read(2, ByteBuffer.allocate(4)));
        });
  }

  @Test
  void theSamePatchHasTheSameBytesWhateverTheThreads() throws IOException {
    withPatch(
        everyType(1).with("long", DType.F16, random(2 * LONG, 3), LONG),
        everyType(2).with("long", DType.F16, perturbed(random(2 * LONG, 3), 2, 2, 4), LONG),
        (base, tuned, patch) -> {
          for (int threads : new int[] {1, 5}) {
            WriteOptions options = WriteOptions.defaults().withThreads(threads).overwriting();
            PatchFile.write(Patch.exact(tuned, base), file("again"), options);
            assertArrayEquals(Files.readAllBytes(file("patch")), Files.readAllBytes(file("again")));
            Checkpoints.write(patch.applyTo(base), file("applied"), options);
            assertArrayEquals(Files.readAllBytes(file("tuned")), Files.readAllBytes(file("applied")));
          }
        });
  }

  @Test
  void manyThreadsCanReadOnePatchedModel() throws Exception {
    byte[] bytes = random(2 * LONG, 3);
    withPatch(
        new StoredModel().with("w", DType.BF16, bytes, LONG),
        new StoredModel().with("w", DType.BF16, perturbed(bytes, 2, 2, 4), LONG),
        (base, tuned, patch) -> {
          ModelVersion applied = patch.applyTo(base);
          Map<String, String> expected = StoredModel.contents(tuned);
          AtomicReference<Throwable> failure = new AtomicReference<>();
          List<Thread> threads = IntStream.range(0, 4).mapToObj(i -> new Thread(() -> {
            try {
              assertEquals(expected, StoredModel.contents(applied));
            } catch (Throwable e) {
              failure.set(e);
            }
          })).toList();
          threads.forEach(Thread::start);
          for (Thread thread : threads) {
            try {
              thread.join();
            } catch (InterruptedException e) {
              throw new AssertionError(e);
            }
          }
          assertEquals(null, failure.get());
        });
  }

  @Test
  void anotherBaseIsRefusedByItsFirstTensorThatDiffersAndNothingIsWritten() throws IOException {
    withPatch(
        new StoredModel().with("a", DType.U8, new byte[2], 2).with("b", DType.U8, new byte[2], 2).with("c", DType.U8, new byte[2], 2),
        new StoredModel().with("a", DType.U8, new byte[2], 2).with("b", DType.U8, new byte[2], 2).with("c", DType.U8, new byte[] {1, 1}, 2),
        (base, tuned, patch) -> {
          // b, which the patch leaves alone, is compared too.
          new StoredModel()
              .with("a", DType.U8, new byte[2], 2)
              .with("b", DType.U8, new byte[] {0, 1}, 2)
              .with("c", DType.U8, new byte[] {2, 0}, 2)
              .write(file("other"));
          try (ModelVersion other = Checkpoints.open(file("other"))) {
            String message = assertThrows(
                IncompatibleModelException.class, () -> Checkpoints.write(patch.applyTo(other), file("out"))).getMessage();
            String start = "the exact patch 'tuned.safetensors - base.safetensors' fits only the model that it was made on";
            assertTrue(message.startsWith(start), message);
            assertTrue(message.contains("tensor 'b': has the digest "), message);
            assertFalse(message.contains("was applied already"), message);
            assertThrows(IncompatibleModelException.class, () -> StoredModel.contents(patch.applyTo(other)));
            Patch unsaved = Patch.exact(tuned, base);
            assertThrows(IncompatibleModelException.class, () -> Checkpoints.write(unsaved.applyTo(other), file("out")));
            Patch part = patch.only("c");
            assertThrows(IncompatibleModelException.class, () -> Checkpoints.write(part.applyTo(other), file("out")));
          }
          assertFalse(Files.exists(file("out")));
        });
  }

  @Test
  void headersThatDifferAreAllListed() throws IOException {
    withPatch(
        new StoredModel().with("a", DType.U8, new byte[2], 2).with("b", DType.U8, new byte[2], 2).with("c", DType.U8, new byte[2], 2),
        new StoredModel().with("a", DType.U8, new byte[2], 2).with("b", DType.U8, new byte[] {1, 1}, 2).with("d", DType.U8, new byte[2], 2),
        (base, tuned, patch) -> {
          new StoredModel().with("b", DType.I8, new byte[2], 2).with("d", DType.U8, new byte[2], 2).with("e", DType.U8, new byte[1], 1)
              .write(file("other"));
          try (ModelVersion other = Checkpoints.open(file("other"))) {
            List<String> found = assertThrows(IncompatibleModelException.class, () -> patch.applyTo(other)).mismatches().stream()
                .map(Object::toString).toList();
            String already = ", which is what the patch makes of it: the patch was applied already, or its inverse is the one that fits";
            assertEquals(
                List.of(
                    "tensor 'b': is U8 [2] in the model that the patch was made on and I8 [2] here",
                    "tensor 'c': is U8 [2] in the model that the patch was made on and missing here" + already,
                    "tensor 'd': is missing in the model that the patch was made on and U8 [2] here" + already,
                    "tensor 'e': is missing in the model that the patch was made on and U8 [1] here",
                    "tensor 'a': is U8 [2] in the model that the patch was made on and missing here"),
                found);
          }
        });
  }

  @Test
  void applyingTwiceAndTheWrongWayRoundAreRefusedWithAHint() throws IOException {
    withPatch(
        everyType(1),
        everyType(2),
        (base, tuned, patch) -> {
          for (ModelVersion wrong : List.of(patch.applyTo(tuned), patch.inverse().applyTo(base), Patch.exact(tuned, base).applyTo(tuned))) {
            String message = assertThrows(IncompatibleModelException.class, () -> Checkpoints.write(wrong, file("out"))).getMessage();
            assertTrue(message.endsWith("the patch was applied already, or its inverse is the one that fits"), message);
          }
          assertFalse(Files.exists(file("out")));
        });
  }

  @Test
  void partsOfAPatchApplyAndAreTakenBack() throws IOException {
    withPatch(
        everyType(1),
        everyType(2),
        (base, tuned, patch) -> {
          Map<String, String> expected = new TreeMap<>(StoredModel.contents(base));
          expected.put("bf16", StoredModel.contents(tuned).get("bf16"));
          for (Patch part : List.of(patch.only("bf16"), Patch.exact(tuned, base).only("bf16"), patch.only("bf16", "f16").except("f16"))) {
            assertEquals(expected, StoredModel.contents(part.applyTo(base)));
            Checkpoints.write(part.applyTo(base), file("part"), WriteOptions.defaults().overwriting());
            try (ModelVersion applied = Checkpoints.open(file("part"))) {
              assertEquals(StoredModel.contents(base), StoredModel.contents(part.inverse().applyTo(applied)));
              assertThrows(IncompatibleModelException.class, () -> StoredModel.contents(part.inverse().applyTo(tuned)));
            }
          }
        });
  }

  @Test
  void anInverseCanBeSavedAndTakenBackItself() throws IOException {
    withPatch(
        everyType(1),
        everyType(2).with("new", DType.I16, new byte[] {1, 2}, 1),
        (base, tuned, patch) -> {
          for (Patch inverse : List.of(patch.inverse(), Patch.exact(tuned, base).inverse())) {
            PatchFile.write(inverse, file("inverse"), WriteOptions.defaults().overwriting());
            try (PatchFile saved = PatchFile.open(file("inverse"))) {
              assertEquals(Fingerprint.of(tuned).digest(), saved.patch().base().orElseThrow().fingerprint().orElseThrow());
              assertEquals(StoredModel.contents(base), StoredModel.contents(saved.patch().applyTo(tuned)));
              assertEquals(StoredModel.contents(tuned), StoredModel.contents(saved.patch().inverse().applyTo(base)));
            }
          }
        });
  }

  @Test
  void exactPatchesAreNotScaledAddedOrMixed() throws IOException {
    withPatch(
        everyType(1),
        everyType(2),
        (base, tuned, patch) -> {
          assertEquals(patch, patch.scaledBy(1));
          assertTrue(assertThrows(IllegalStateException.class, () -> patch.scaledBy(2)).getMessage().contains("cannot be scaled"));
          assertThrows(IllegalStateException.class, patch::negate);
          assertThrows(IllegalStateException.class, () -> patch.plus(patch));
          Patch plain = Patch.of(Map.of("f32", new Delta.Dense(base.tensor("f32").orElseThrow())), patch.base(), "plain");
          assertThrows(IllegalStateException.class, () -> plain.plus(patch.only("f16")));
          assertThrows(IllegalStateException.class, plain::inverse);
          Map<String, Delta> mixed = new TreeMap<>(plain.deltas());
          mixed.put("f16", patch.deltas().get("f16"));
          assertThrows(IllegalArgumentException.class, () -> Patch.of(mixed, patch.base(), "mixed"));
        });
  }

  @Test
  void aFlippedPayloadByteIsRefusedByName() throws IOException {
    withPatch(everyType(1), everyType(2), (base, tuned, patch) -> {});
    byte[] good = Files.readAllBytes(file("patch"));
    long headerLength = ByteBuffer.wrap(good).order(ByteOrder.LITTLE_ENDIAN).getLong(0);
    Random random = new Random(1);
    try (ModelVersion base = Checkpoints.open(file("base"))) {
      for (int i = 0; i < 100; i++) {
        byte[] bad = good.clone();
        int at = (int) (8 + headerLength) + random.nextInt((int) (good.length - 8 - headerLength));
        bad[at] ^= (byte) (1 << random.nextInt(8));
        Files.write(file("bad"), bad);
        try (PatchFile patch = PatchFile.open(file("bad"))) {
          MalformedModelException refusal =
              assertThrows(MalformedModelException.class, () -> Checkpoints.write(patch.patch().applyTo(base), file("out")));
          assertEquals("PF-DIGEST", refusal.rule());
          String message = refusal.getMessage();
          assertTrue(message.matches("(?s)\\[.*bad.safetensors\\] tensor '\\w+\\.0\\.change': has the SHA-256 .*"), message);
        }
      }
    }
    assertFalse(Files.exists(file("out")));
  }

  @Test
  void payloadsThatAreWrongFromTheStartAreRefusedOrGiveSomeBits() throws IOException {
    byte[] bytes = random(2 * (1 << 16) + 500, 3);
    byte[] changed = perturbed(bytes, 2, 200, 4);
    withPatch(
        new StoredModel().with("w", DType.BF16, bytes, bytes.length / 2),
        new StoredModel().with("w", DType.BF16, changed, bytes.length / 2),
        (base, tuned, patch) -> {
          byte[] good = Unsealed.bytes(file("patch"));
          TensorInfo payload;
          try (ModelVersion stored = Checkpoints.open(file("patch"))) {
            payload = stored.tensors().get(0);
          }
          int start = good.length - (int) payload.bytes();
          Random random = new Random(1);
          int refused = 0;
          for (int i = 0; i < 400; i++) {
            byte[] bad = good.clone();
            // The table, half of the time: it is the last 16 bytes.
            int at = i % 2 == 0 ? good.length - 1 - random.nextInt(16) : start + random.nextInt((int) payload.bytes());
            bad[at] = (byte) random.nextInt();
            Files.write(file("bad"), withNewDigest(bad, start, good));
            try (PatchFile opened = PatchFile.open(file("bad"))) {
              StoredModel.contents(opened.patch().applyTo(base));
            } catch (MalformedModelException e) {
              assertEquals("PF-BITS", e.rule(), e.getMessage());
              refused++;
            }
          }
          assertTrue(refused > 150, refused + " refused");
        });
  }

  /** The file with the payload's digest made to fit the payload. */
  private static byte[] withNewDigest(byte[] file, int start, byte[] original) {
    String before = Hashing.sha256().hashBytes(original, start, original.length - start).toString();
    String after = Hashing.sha256().hashBytes(file, start, file.length - start).toString();
    String text = new String(file, StandardCharsets.ISO_8859_1);
    assertTrue(text.contains(before));
    return text.replace(before, after).getBytes(StandardCharsets.ISO_8859_1);
  }

  @Test
  void metadataThatLiesIsRefusedWhenThePatchIsOpened() throws IOException {
    withPatch(
        new StoredModel().with("w", DType.BF16, new byte[8], 4),
        new StoredModel().with("w", DType.BF16, random(8, 1), 4),
        (base, tuned, patch) -> {});
    String good = new String(Unsealed.bytes(file("patch")), StandardCharsets.ISO_8859_1);
    assertEquals("PF-EXACT", ruleOf(good.replace("\\\"base\\\":[\\\"BF16\\\",[4]", "\\\"base\\\":[\\\"BF99\\\",[4]")));
    assertEquals("PF-TENSORS", ruleOf(good.replace("\\\"base\\\":[\\\"BF16\\\",[4]", "\\\"base\\\":[\\\"BF16\\\",[5]")));
    assertEquals("PF-EXACT", ruleOf(good.replace("[\\\"BF16\\\",[4]", "[\\\"F6_E2M3\\\",[1]")));
    assertEquals("PF-EXACT", ruleOf(good.replace("[\\\"BF16\\\",[4]", "[\\\"BF16\\\",[9999999999]")));
    assertEquals("PF-EXACT", ruleOf(good.replace("[\\\"BF16\\\",[4]", "[\\\"BF16\\\",[999999999999999999,8]")));
    assertEquals("PF-BASE", ruleOf(good.replaceAll("(\\\"change\\\\\":\\\\\")[0-9a-f]", "$1X")));
    assertEquals("PF-KIND", ruleOf(good.replace("\\\"kind\\\":\\\"exact\\\"", "\\\"kind\\\":\\\"exalt\\\"")));
  }

  private String ruleOf(String patch) throws IOException {
    byte[] bytes = patch.getBytes(StandardCharsets.ISO_8859_1);
    // The header's length is mended: replacements may be longer.
    ByteBuffer original = ByteBuffer.wrap(Unsealed.bytes(file("patch"))).order(ByteOrder.LITTLE_ENDIAN);
    int data = (int) (original.capacity() - 8 - original.getLong(0));
    ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putLong(0, bytes.length - 8 - data);
    Files.write(file("bad"), bytes);
    return assertThrows(MalformedModelException.class, () -> PatchFile.open(file("bad")).close()).rule();
  }

  /** A file of format version 1 from before there were seals, made by this test once; its source is the two models below. */
  @Test
  void filesOfTheFirstVersionKeepLoadingAndAreStillWrittenAlike() throws IOException {
    byte[] weights = random(6000, 3);
    byte[] golden;
    try (InputStream stored = getClass().getResourceAsStream("/golden/exact.patch.safetensors")) {
      golden = stored.readAllBytes();
    }
    withPatch(
        everyType(1)
            .with("dense", DType.BF16, weights, 3000)
            .with("sparse", DType.F32, weights, 1500)
            .with("gone", DType.U8, weights, 6000),
        everyType(2)
            .with("dense", DType.BF16, perturbed(weights, 2, 1, 4), 3000)
            .with("sparse", DType.F32, perturbed(weights, 4, 30, 4), 1500)
            .with("gone", DType.U8, Arrays.copyOf(weights, 100), 10, 10),
        (base, tuned, patch) -> {
          assertArrayEquals(golden, Unsealed.bytes(file("patch")));
          Files.write(file("golden"), golden);
          try (PatchFile opened = PatchFile.open(file("golden"))) {
            assertEquals(StoredModel.contents(tuned), StoredModel.contents(opened.patch().applyTo(base)));
            assertEquals(StoredModel.contents(base), StoredModel.contents(opened.patch().inverse().applyTo(tuned)));
          }
        });
  }
}
