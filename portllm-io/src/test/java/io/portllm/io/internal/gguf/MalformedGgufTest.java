package io.portllm.io.internal.gguf;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.DType;
import io.portllm.io.MalformedModelException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Each way in which a single file can lie is refused by its rule. */
class MalformedGgufTest {
  private static final int F32 = 0;
  private static final int Q4_0 = 2;
  private static final int Q8_0 = 8;

  @TempDir Path dir;

  private MalformedModelException refusal(byte[] bytes) throws IOException {
    Path file = Files.write(dir.resolve("m.gguf"), bytes);
    return assertThrows(MalformedModelException.class, () -> GgufModel.openFile(file).close());
  }

  private void assertRefused(String rule, String says, byte[] bytes) throws IOException {
    MalformedModelException refusal = refusal(bytes);
    assertEquals(rule, refusal.rule(), refusal::getMessage);
    assertTrue(refusal.getMessage().contains(says), refusal::getMessage);
    assertTrue(refusal.getMessage().contains("m.gguf] "), refusal::getMessage);
  }

  private void assertRefused(String rule, String says, GgufBytes file) throws IOException {
    assertRefused(rule, says, file.build());
  }

  private static byte[] ascii(String text) {
    return text.getBytes(StandardCharsets.ISO_8859_1);
  }

  @Test
  void aFileThatBeginsOtherwiseIsNamedForWhatItIs() throws IOException {
    assertRefused("GG-MAGIC", "found ''", new byte[0]);
    assertRefused("GG-MAGIC", "found 'GGU'", ascii("GGU"));
    assertRefused("GG-MAGIC", "must be capitals", ascii("gguf\3\0\0\0"));
    assertRefused("GG-MAGIC", "bytes were swapped", ascii("FUGG\3\0\0\0"));
    assertRefused("GG-MAGIC", "before GGUF", ascii("tjgg\1\0\0\0"));
    assertRefused("GG-MAGIC", "before GGUF", ascii("lmgg\1\0\0\0"));
    assertRefused("GG-MAGIC", "a safetensors file", ascii("\2\0\0\0\0\0\0\0{}"));
    assertRefused("GG-MAGIC", "a Git LFS pointer", ascii("version https://git-lfs.github.com/spec/v1\n"));
  }

  @ParameterizedTest
  @ValueSource(ints = {4, 5, 8, 15, 16, 20, 23})
  void aHeaderThatEndsEarlyIsRefused(int length) throws IOException {
    assertRefused("GG-HDR", "needs 24 bytes but the file has " + length, Arrays.copyOf(new GgufBytes().build(), length));
  }

  @Test
  void onlyVersionsTwoAndThreeAreRead() throws IOException {
    assertRefused("GG-VERSION", "found 0", new GgufBytes().version(0));
    assertRefused("GG-VERSION", "lengths have 32 bits", new GgufBytes().version(1));
    assertRefused("GG-VERSION", "found 4", new GgufBytes().version(4));
    assertRefused("GG-VERSION", "found 4294967295", new GgufBytes().version(-1));
    assertRefused("GG-VERSION", "big-endian, version 3", new GgufBytes().version(0x03000000));
    for (int version : new int[] {2, 3}) {
      try (GgufModel model = GgufModel.openFile(new GgufBytes().version(version).write(dir.resolve("v.gguf")))) {
        assertEquals(version, model.parts().get(0).header().version());
      }
    }
  }

  @ParameterizedTest
  @ValueSource(longs = {-1, 1, 1L << 40, (1L << 32) + 1, Long.MIN_VALUE})
  void countsThatTheFileHasNoRoomForAreRefused(long count) throws IOException {
    assertRefused("GG-COUNT", Long.toUnsignedString(count) + " tensors", new GgufBytes().counting(count, 0));
    assertRefused("GG-COUNT", Long.toUnsignedString(count) + " metadata entries", new GgufBytes().counting(0, count));
  }

  @ParameterizedTest
  @ValueSource(longs = {-1, Long.MIN_VALUE, (1L << 32) + 3, 1 << 30, 12})
  void stringsLongerThanTheFileAreRefused(long length) throws IOException {
    byte[] key = GgufBytes.le(length, ascii("key"), 4, 7);
    assertRefused("GG-STRLEN", "the length of a metadata key is " + Long.toUnsignedString(length), new GgufBytes().raw(key));
    byte[] value = GgufBytes.le("k", ValueType.STRING.ordinal(), length, ascii("abc"));
    assertRefused("GG-STRLEN", "metadata 'k' is " + Long.toUnsignedString(length), new GgufBytes().raw(value));
    byte[] element = GgufBytes.le("k", ValueType.ARRAY.ordinal(), ValueType.STRING.ordinal(), 1L, length, ascii("abc"));
    assertRefused("GG-STRLEN", "metadata 'k' is", new GgufBytes().raw(element));
  }

  @Test
  void keysMustBeTextThatOccursOnce() throws IOException {
    assertRefused("GG-KEY", "has 0", new GgufBytes().entry("", ValueType.U8, (byte) 1));
    assertRefused("GG-KEY", "has 65536", new GgufBytes().entry("k".repeat(65_536), ValueType.U8, (byte) 1));
    assertRefused("GG-KEY", "zero byte", new GgufBytes().entry("k\0l", ValueType.U8, (byte) 1));
    assertRefused("GG-KEY", "not UTF-8", new GgufBytes().raw(GgufBytes.le(1L, (byte) 0xff, 0, (byte) 1)));
    assertRefused("GG-DUP", "key 'k' occurs twice", new GgufBytes().entry("k", ValueType.U8, (byte) 1).entry("k", ValueType.I8, (byte) 1));
  }

  @Test
  void unknownValueTypesAreRefused() throws IOException {
    for (int type : new int[] {13, -1, 256}) {
      String found = Integer.toUnsignedString(type);
      assertRefused("GG-KVTYPE", "is " + found, new GgufBytes().raw(GgufBytes.le("k", type, 0L)));
      assertRefused("GG-KVTYPE", "is " + found, new GgufBytes().raw(GgufBytes.le("k", ValueType.ARRAY.ordinal(), type, 0L)));
    }
  }

  @Test
  void aValueThatEndsEarlyIsRefused() throws IOException {
    byte[] whole = new GgufBytes().entry("k", ValueType.U64, 7L).build();
    for (int length = 24 + 8 + 1; length < whole.length; length++) {
      assertRefused("GG-EOF", "'k'", Arrays.copyOf(whole, length));
    }
  }

  @ParameterizedTest
  @ValueSource(longs = {-1, 1L << 61, (1L << 32) + 3, 1L << 31, (1L << 30) + 1, 3})
  void arraysLongerThanTheFileAreRefused(long count) throws IOException {
    for (ValueType type : new ValueType[] {ValueType.U64, ValueType.STRING, ValueType.ARRAY}) {
      byte[] array = GgufBytes.le("k", ValueType.ARRAY.ordinal(), type.ordinal(), count, 0L, 0L, 0);
      assertRefused("GG-ARRLEN", "said to have " + Long.toUnsignedString(count), new GgufBytes().raw(array));
    }
  }

  @Test
  void arraysInArraysAreReadToADepth() throws IOException {
    try (GgufModel model = GgufModel.openFile(nested(7).write(dir.resolve("n.gguf")))) {
      assertTrue(model.metadata().has("k"));
    }
    assertRefused("GG-DEPTH", "more than 8 deep", nested(8));
    assertRefused("GG-DEPTH", "more than 8 deep", nested(10_000));
  }

  private static GgufBytes nested(int depth) {
    byte[] level = GgufBytes.le(ValueType.ARRAY.ordinal(), 1L);
    byte[] value = new byte[level.length * depth];
    for (int i = 0; i < depth; i++) {
      System.arraycopy(level, 0, value, i * level.length, level.length);
    }
    return new GgufBytes().raw(GgufBytes.le("k", ValueType.ARRAY.ordinal()), value, GgufBytes.le(ValueType.U8.ordinal(), 1L, (byte) 5));
  }

  @Test
  void truthIsZeroOrOne() throws IOException {
    assertRefused("GG-BOOL", "is 2", new GgufBytes().entry("k", ValueType.BOOL, (byte) 2));
    assertRefused("GG-BOOL", "is 255", new GgufBytes().entry("k", ValueType.ARRAY, ValueType.BOOL.ordinal(), 2L, (byte) 1, (byte) -1));
  }

  @Test
  void alignmentsArePowersOfTwo() throws IOException {
    String key = "general.alignment";
    for (int alignment : new int[] {0, 13, 24, 1 << 21, Integer.MIN_VALUE}) {
      assertRefused("GG-ALIGN", "but is " + Integer.toUnsignedString(alignment), new GgufBytes().entry(key, ValueType.U32, alignment));
    }
    assertRefused("GG-ALIGN", "type I32", new GgufBytes().entry(key, ValueType.I32, 32));
    assertRefused("GG-ALIGN", "type U64", new GgufBytes().entry(key, ValueType.U64, 32L));
    assertRefused("GG-ALIGN", "type STRING", new GgufBytes().entry(key, ValueType.STRING, "32"));
    assertRefused("GG-ALIGN", "type ARRAY", new GgufBytes().entry(key, ValueType.ARRAY, ValueType.U32.ordinal(), 1L, 32));
  }

  @Test
  void tensorNamesMustBeTextThatOccursOnce() throws IOException {
    assertRefused("GG-TNAME", "has 0", new GgufBytes().tensor("", DType.F32, 1));
    assertRefused("GG-TNAME", "has 64", new GgufBytes().tensor("n".repeat(64), DType.F32, 1));
    assertRefused("GG-TNAME", "zero byte", new GgufBytes().tensor("a\0b", DType.F32, 1));
    assertRefused("GG-DUP", "'a\\u0000c' occurs twice", new GgufBytes().tensor("a\0b", DType.F32, 1).tensor("a\0c", DType.F32, 1));
    assertRefused("GG-DUP", "'a' occurs twice", new GgufBytes().tensor("a", DType.F32, 1).tensor("a", DType.F16, 1));
    byte[] file = new GgufBytes().tensor("a", DType.F32, 1).build();
    file[24 + 8] = (byte) 0xff;
    assertRefused("GG-TNAME", "not UTF-8", file);
    file[24 + 7] = 1;
    assertRefused("GG-STRLEN", "a tensor's name", file);
  }

  @Test
  void dimensionsAreAtMostFourAndNotNegative() throws IOException {
    assertRefused("GG-NDIMS", "has 5", new GgufBytes().tensor("a", DType.F32, 1, 1, 1, 1, 1));
    byte[] file = new GgufBytes().tensor("a", DType.F32, 1).build();
    Arrays.fill(file, 24 + 9, 24 + 13, (byte) 0xff);
    assertRefused("GG-NDIMS", "has 4294967295", file);
    assertRefused("GG-DIM", "18446744073709551615", new GgufBytes().info("a", F32, 0, -1));
    assertRefused("GG-DIM", "18446744073709551615", new GgufBytes().info("a", F32, 0, -8, -1));
  }

  @Test
  void sizesThatOverflowAreRefused() throws IOException {
    long half = 1L << 32;
    assertRefused("GG-OVERFLOW", "[4294967296, 4294967296]", new GgufBytes().info("a", F32, 0, half, half));
    assertRefused("GG-OVERFLOW", "'a'", new GgufBytes().info("a", F32, 0, 3, 1L << 62, 4));
    assertRefused("GG-OVERFLOW", "'a'", new GgufBytes().info("a", F32, 0, 1L << 62));
    assertRefused("GG-OVERFLOW", "'a'", new GgufBytes().info("a", Q8_0, 0, 1L << 59));
    assertRefused("GG-OVERFLOW", "'a'", new GgufBytes().info("a", 24, 0, Long.MAX_VALUE));
    assertRefused("GG-OVERFLOW", "'b'", new GgufBytes().info("a", 24, 0, 1L << 62).info("b", 24, 1L << 62, 1L << 62));
  }

  @Test
  void typesThatAreUnknownOrWereRemovedAreRefused() throws IOException {
    for (int type : new int[] {4, 5, 31, 32, 33, 36, 37, 38, 43, 1000, -1}) {
      assertRefused("GG-TTYPE", "unknown type " + Integer.toUnsignedString(type), new GgufBytes().info("a", type, 0, 32));
    }
  }

  @Test
  void rowsAreWholeBlocks() throws IOException {
    assertRefused("GG-BLOCK", "rows of 33 elements", new GgufBytes().info("a", Q4_0, 0, 33));
    assertRefused("GG-BLOCK", "rows of 128 elements", new GgufBytes().info("a", 12, 0, 2, 128));
    assertRefused("GG-BLOCK", "rows of 1 elements", new GgufBytes().info("a", Q4_0, 0));
  }

  @Test
  void tensorsLieEndToEnd() throws IOException {
    byte[] two = new byte[64];
    assertRefused("GG-OFFSET", "18446744073709551615", new GgufBytes().info("a", F32, -1, 8).data(two));
    assertRefused("GG-OFFSET", "begins at 18446744073709551584", new GgufBytes().info("a", F32, -32, 8).data(two));
    assertRefused("GG-OFFSET", "multiple of 32", new GgufBytes().info("a", F32, 4, 8).data(two));
    assertRefused("GG-OFFSET", "ends at 32", new GgufBytes().info("a", F32, 0, 8).info("b", F32, 0, 8).data(two));
    assertRefused("GG-OFFSET", "begins at 32 but the start", new GgufBytes().info("a", F32, 32, 8).data(two));
    assertRefused("GG-OFFSET", "begins at 64", new GgufBytes().info("a", F32, 0, 8).info("b", F32, 64, 8).data(new byte[96]));
    assertRefused("GG-OFFSET", "multiple of 64", new GgufBytes().alignment(64).info("a", F32, 0, 8).info("b", F32, 32, 8).data(two));
  }

  @Test
  void dataThatIsMissingIsMissedAtOnce() throws IOException {
    byte[] whole = new GgufBytes().tensor("a", DType.F32, 8).tensor("b", DType.F32, 8).build();
    assertRefused("GG-EOF", "'b' needs 32 bytes", Arrays.copyOf(whole, whole.length - 1));
    assertRefused("GG-EOF", "'a' needs 32 bytes", Arrays.copyOf(whole, whole.length - 33));
    assertRefused("GG-EOF", "'a' needs 4194304 bytes", new GgufBytes().info("a", F32, 0, 1 << 20).data(new byte[32]));
    assertRefused("GG-EOF", "'a'", new GgufBytes().info("a", F32, 0, 1L << 58));
  }

  @Test
  void everyPrefixIsRefused() throws IOException {
    byte[] whole = new GgufBytes().entry("k", ValueType.U32, 3).strings("s", "a", "b").tensor("t", DType.Q8_0, 2, 32).build();
    // The last byte of weights is followed by padding, which need not be there.
    int end = whole.length - (64 - 2 * 34 % 32) % 32;
    for (int length = 0; length < end; length++) {
      refusal(Arrays.copyOf(whole, length));
    }
    GgufModel.openFile(Files.write(dir.resolve("whole.gguf"), Arrays.copyOf(whole, end))).close();
  }

  @Test
  void mutatedFilesAreReadOrRefused() throws IOException {
    byte[] whole = new GgufBytes()
        .entry("general.architecture", ValueType.STRING, "x")
        .alignment(8)
        .entry("n", ValueType.ARRAY, ValueType.ARRAY.ordinal(), 1L, ValueType.U8.ordinal(), 2L, (byte) 1, (byte) 2)
        .strings("s", "a", "b")
        .tensor("t", DType.Q8_0, 2, 32)
        .tensor("u", DType.F32, 3)
        .build();
    long[] edges = {0, 1, -1, Long.MAX_VALUE, Long.MIN_VALUE, 1L << 31, 1L << 32, 1L << 61, Integer.MAX_VALUE, 0xffffffffL, whole.length};
    Random random = new Random(20261122);
    int opened = 0;
    for (int i = 0; i < 5_000; i++) {
      byte[] bytes = random.nextInt(8) == 0 ? Arrays.copyOf(whole, random.nextInt(whole.length)) : whole.clone();
      for (int change = random.nextInt(3); change >= 0 && bytes.length > 0; change--) {
        int at = random.nextInt(bytes.length);
        if (random.nextBoolean()) {
          bytes[at] ^= (byte) (1 << random.nextInt(8));
        } else {
          byte[] edge = GgufBytes.le(edges[random.nextInt(edges.length)]);
          System.arraycopy(edge, 0, bytes, at, Math.min(random.nextBoolean() ? 4 : 8, bytes.length - at));
        }
      }
      try {
        GgufModel.openFile(Files.write(dir.resolve("mutant.gguf"), bytes)).close();
        opened++;
      } catch (MalformedModelException e) {
        assertTrue(e.rule().startsWith("GG-"), e::getMessage);
      }
    }
    assertTrue(opened > 0 && opened < 5_000, opened + " opened");
  }
}
