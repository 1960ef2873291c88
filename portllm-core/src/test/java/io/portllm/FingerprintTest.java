package io.portllm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.testing.MemoryModel;
import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;

class FingerprintTest {
  private static final byte[] ONE = {1, 2, 3, 4, 5, 6, 7, 8};
  private static final byte[] OTHER = {9, 8, 7, 6};

  @Test
  void shardsOrderMetadataAndConfigurationDoNotCount() throws IOException {
    Fingerprint plain = Fingerprint.of(
        MemoryModel.named("a").raw("x", DType.BF16, Shape.of(2, 2), ONE).raw("y", DType.U8, Shape.of(4), OTHER).build());
    Fingerprint other = Fingerprint.of(
        MemoryModel.named("b")
            .metadata(Map.of("format", "pt"))
            .config("architectures.0", "X")
            .raw("y", DType.U8, Shape.of(4), OTHER)
            .nextShard()
            .raw("x", DType.BF16, Shape.of(2, 2), ONE)
            .build());
    assertEquals(plain, other);
    assertEquals(plain.digest(), other.digest());
  }

  @Test
  void everyBitNameTypeAndDimensionCounts() throws IOException {
    String original = digest("x", DType.BF16, Shape.of(2, 2), ONE);
    for (int bit = 0; bit < 64; bit++) {
      byte[] flipped = ONE.clone();
      flipped[bit / 8] ^= (byte) (1 << bit % 8);
      assertNotEquals(original, digest("x", DType.BF16, Shape.of(2, 2), flipped));
    }
    assertNotEquals(original, digest("X", DType.BF16, Shape.of(2, 2), ONE));
    assertNotEquals(original, digest("x", DType.F16, Shape.of(2, 2), ONE));
    assertNotEquals(original, digest("x", DType.F32, Shape.of(2), ONE));
    assertNotEquals(original, digest("x", DType.BF16, Shape.of(4), ONE));
    assertNotEquals(original, digest("x", DType.BF16, Shape.of(4, 1), ONE));
    assertNotEquals(original, digest("x", DType.BF16, Shape.of(1, 2, 2), ONE));
  }

  @Test
  void negativeZeroAndNanPayloadsCount() throws IOException {
    byte[] zero = {0, 0, 0, 0};
    byte[] negative = {0, 0, 0, (byte) 0x80};
    assertNotEquals(digest("x", DType.F32, Shape.of(), zero), digest("x", DType.F32, Shape.of(), negative));
  }

  @Test
  void aTensorMovedIntoAnothersNameIsAnotherModel() throws IOException {
    Fingerprint one = Fingerprint.of(
        MemoryModel.named("a").raw("x", DType.U8, Shape.of(4), OTHER).raw("y", DType.U8, Shape.of(2), new byte[2]).build());
    Fingerprint swapped = Fingerprint.of(
        MemoryModel.named("a").raw("y", DType.U8, Shape.of(4), OTHER).raw("x", DType.U8, Shape.of(2), new byte[2]).build());
    assertEquals(one.tensors().get("x"), swapped.tensors().get("y"));
    assertNotEquals(one.digest(), swapped.digest());
  }

  @Test
  void digestsAreWhatTheJavadocSays() throws Exception {
    byte[] large = new byte[2 * Fingerprint.BLOCK_BYTES + 6];
    new Random(1).nextBytes(large);
    byte[] exact = Arrays.copyOf(large, Fingerprint.BLOCK_BYTES);
    String japanese = "重み";
    // As UTF-16 the first of these is the lesser, as UTF-8 the second.
    String smile = "\ud83d\ude00";
    String halfwidth = "\uffee";
    Fingerprint found = Fingerprint.of(
        MemoryModel.named("m")
            .raw("scalar", DType.F32, Shape.of(), OTHER)
            .raw("none", DType.F64, Shape.of(0, 3), new byte[0])
            .raw(japanese, DType.BF16, Shape.of(large.length / 2), large)
            .raw(halfwidth, DType.U8, Shape.of(2), new byte[2])
            .raw(smile, DType.U8, Shape.of(1), new byte[1])
            .raw("exact", DType.I8, Shape.of(1 << 11, 1 << 11), exact)
            .build());

    String exactDigest = tensorDigest("I8\n2048,2048\n", exact);
    String noneDigest = tensorDigest("F64\n0,3\n", new byte[0]);
    String scalarDigest = tensorDigest("F32\n\n", OTHER);
    String largeDigest = tensorDigest("BF16\n" + large.length / 2 + "\n", large);
    String smileDigest = tensorDigest("U8\n1\n", new byte[1]);
    String halfwidthDigest = tensorDigest("U8\n2\n", new byte[2]);
    String[][] sorted = {
      {"exact", exactDigest}, {"none", noneDigest}, {"scalar", scalarDigest}, {japanese, largeDigest}, {smile, smileDigest}, {halfwidth, halfwidthDigest}
    };
    assertEquals(sorted.length, found.tensors().size());
    for (String[] tensor : sorted) {
      assertEquals(tensor[1], found.tensors().get(tensor[0]));
    }

    ByteArrayOutputStream all = new ByteArrayOutputStream();
    DataOutputStream out = new DataOutputStream(all);
    for (String[] tensor : sorted) {
      byte[] name = tensor[0].getBytes(StandardCharsets.UTF_8);
      out.writeLong(name.length);
      out.write(name);
      out.write(HexFormat.of().parseHex(tensor[1]));
    }
    assertEquals(hex(sha(all.toByteArray())), found.digest());
    assertTrue(found.digest().matches("[0-9a-f]{64}"));
  }

  @Test
  void aModelWithoutTensorsHasADigestToo() throws Exception {
    assertEquals(hex(sha(new byte[0])), Fingerprint.of(MemoryModel.named("empty").build()).digest());
  }

  private static String digest(String name, DType type, Shape shape, byte[] bytes) throws IOException {
    return Fingerprint.of(MemoryModel.named("m").raw(name, type, shape, bytes).build()).digest();
  }

  private static String tensorDigest(String head, byte[] bytes) throws NoSuchAlgorithmException {
    MessageDigest digest = MessageDigest.getInstance("SHA-256");
    digest.update(head.getBytes(StandardCharsets.US_ASCII));
    for (int start = 0; start < bytes.length; start += 4 * 1024 * 1024) {
      digest.update(sha(Arrays.copyOfRange(bytes, start, Math.min(bytes.length, start + 4 * 1024 * 1024))));
    }
    return hex(digest.digest());
  }

  private static byte[] sha(byte[] bytes) throws NoSuchAlgorithmException {
    return MessageDigest.getInstance("SHA-256").digest(bytes);
  }

  private static String hex(byte[] bytes) {
    return HexFormat.of().formatHex(bytes);
  }
}
