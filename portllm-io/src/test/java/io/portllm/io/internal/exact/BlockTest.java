package io.portllm.io.internal.exact;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.hash.Hashing;
import io.portllm.DType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** A block holds the difference of two runs of words: either run and the block give the other. */
class BlockTest {
  private final BlockEncoder encoder = new BlockEncoder();
  private final BlockDecoder decoder = new BlockDecoder();

  /** Words and what became of them. */
  private record Runs(String what, Words words, byte[] before, byte[] after) {
    int count() {
      return before.length / words.bytes();
    }

    @Override
    public String toString() {
      return what + ", " + count() + " " + words;
    }
  }

  /** Each way of changing words that a form of block is meant for, in each width, at odd and even counts. */
  private static List<Runs> runs() {
    return Stream.of(DType.U8, DType.F8_E5M2, DType.I16, DType.BF16, DType.U32, DType.F32, DType.I64, DType.F64)
        .map(Words::of)
        .flatMap(words -> IntStream.of(1, 2, 3, 17, 1000, 4097, BlockEncoder.WORDS).boxed().flatMap(count -> runs(words, count)))
        .toList();
  }

  private static Stream<Runs> runs(Words words, int count) {
    Random random = new Random(count);
    byte[] before = new byte[count * words.bytes()];
    random.nextBytes(before);
    byte[] one = before.clone();
    one[before.length / 2] ^= 0x10;
    byte[] sparse = before.clone();
    byte[] dense = before.clone();
    for (int i = 0; i < count; i++) {
      if (random.nextInt(8) == 0) {
        sparse[i * words.bytes()] += (byte) (random.nextGaussian() * 2);
      }
      dense[i * words.bytes()] += (byte) (random.nextGaussian() * 9);
    }
    byte[] other = new byte[before.length];
    random.nextBytes(other);
    byte[] zeros = new byte[before.length];
    byte[] ones = new byte[before.length];
    Arrays.fill(ones, (byte) -1);
    return Stream.of(
        new Runs("one bit", words, before, one),
        new Runs("sparse", words, before, sparse),
        new Runs("dense", words, before, dense),
        new Runs("unrelated", words, before, other),
        new Runs("from zeros", words, zeros, before),
        new Runs("zeros to ones", words, zeros, ones),
        new Runs("ones to zeros", words, ones, zeros),
        new Runs("far ends", words, ends(words, count, 0x80, 0), ends(words, count, 0x7f, 0xff)));
  }

  private static byte[] ends(Words words, int count, int high, int low) {
    byte[] bytes = new byte[count * words.bytes()];
    Arrays.fill(bytes, (byte) low);
    for (int i = words.bytes() - 1; i < bytes.length; i += words.bytes()) {
      bytes[i] = (byte) high;
    }
    return bytes;
  }

  private static ByteBuffer buffer(byte[] bytes) {
    return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  private byte[] encode(Runs runs) {
    int length = encoder.encode(runs.words(), buffer(runs.before()), buffer(runs.after()), runs.count());
    return Arrays.copyOf(encoder.bytes(), length);
  }

  private void decode(byte[] block, Words words, int count) throws BrokenBlockException {
    System.arraycopy(block, 0, decoder.bytes(), 0, block.length);
    decoder.decode(block.length, words, count);
  }

  @ParameterizedTest
  @MethodSource("runs")
  void eitherRunAndTheBlockGiveTheOther(Runs runs) throws BrokenBlockException {
    byte[] block = encode(runs);
    assertTrue(block.length <= BlockEncoder.mostBytes(runs.count(), runs.words().bytes()), () -> block.length + " bytes");
    if (Arrays.equals(runs.before(), runs.after())) {
      assertEquals(0, block.length);
      return;
    }
    decode(block, runs.words(), runs.count());
    byte[] forth = runs.before().clone();
    decoder.addTo(buffer(forth), runs.words(), 0, runs.count(), false);
    assertArrayEquals(runs.after(), forth);
    byte[] back = runs.after().clone();
    decoder.addTo(buffer(back), runs.words(), 0, runs.count(), true);
    assertArrayEquals(runs.before(), back);
  }

  @Test
  void aPartOfABlockCanBeTakenAlone() throws BrokenBlockException {
    Runs runs = runs(Words.of(DType.BF16), 4097).toList().get(2);
    decode(encode(runs), runs.words(), runs.count());
    byte[] part = Arrays.copyOfRange(runs.before(), 2 * 1000, 2 * 1011);
    decoder.addTo(buffer(part), runs.words(), 1000, 11, false);
    assertArrayEquals(Arrays.copyOfRange(runs.after(), 2 * 1000, 2 * 1011), part);
  }

  @Test
  void nothingChangedIsNoBytesAndOneChangeIsFew() {
    byte[] words = new byte[2 * BlockEncoder.WORDS];
    byte[] changed = words.clone();
    changed[70_000] = 1;
    assertEquals(0, encode(new Runs("", Words.of(DType.BF16), words, words)).length);
    assertTrue(encode(new Runs("", Words.of(DType.BF16), words, changed)).length < 20);
  }

  @Test
  void skewedChangesComeNearTheirEntropy() {
    // One word in eight moves by one step either way: 0.5436 bits for which, 1/8 bit for the direction.
    Random random = new Random(1);
    byte[] before = new byte[2 * BlockEncoder.WORDS];
    random.nextBytes(before);
    for (int i = 1; i < before.length; i += 2) {
      before[i] = (byte) (before[i] & 0x80 | 0x3c);
    }
    ByteBuffer after = buffer(before.clone());
    for (int i = 0; i < BlockEncoder.WORDS; i++) {
      if (random.nextInt(8) == 0) {
        after.putShort(2 * i, (short) (after.getShort(2 * i) + (random.nextBoolean() ? 1 : -1)));
      }
    }
    int length = encode(new Runs("", Words.of(DType.BF16), before, after.array())).length;
    assertEquals((0.5436 + 0.125) * BlockEncoder.WORDS / 8, length, 120);
  }

  /** Written once and pinned: a change here means that old patch files are read wrongly, or that new ones differ between JVMs. */
  @Test
  void theBytesOfBlocksArePinned() {
    StringBuilder found = new StringBuilder();
    for (Runs runs : runs()) {
      found.append(Hashing.sha256().hashBytes(encode(runs)));
    }
    assertEquals("88ef6e3f852bcaccbd5aa0aa9b647bb5055a33e15e5fd6450e961c96ce6ab0b2", Hashing.sha256().hashUnencodedChars(found).toString());
  }

  @ParameterizedTest
  @EnumSource(names = {"F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F16", "BF16", "F32", "F64"})
  void neighbouringValuesDifferByOne(DType type) {
    Words words = Words.of(type);
    int bits = 8 * words.bytes();
    // -0 is just below +0, and each side runs away from there.
    long sign = 1L << bits - 1;
    assertEquals(2, folded(words, sign, 0));
    assertEquals(2, folded(words, 0, 1));
    assertEquals(1, folded(words, sign, sign | 1));
    assertEquals(4, folded(words, sign, 1));
  }

  private static long folded(Words words, long before, long after) {
    ByteBuffer mine = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(0, before);
    ByteBuffer theirs = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(0, after);
    long[] difference = new long[1];
    words.subtract(mine, theirs, 1, difference, new long[1]);
    return difference[0];
  }

  @Test
  void brokenBlocksAreRefusedAndNothingElseIsThrown() {
    Random random = new Random(7);
    List<Runs> small = runs().stream().filter(runs -> runs.count() <= 1000 && !Arrays.equals(runs.before(), runs.after())).toList();
    int refused = 0;
    for (int round = 0; round < 20_000; round++) {
      Runs runs = small.get(random.nextInt(small.size()));
      byte[] block = mutate(encode(runs), random);
      try {
        decode(block, runs.words(), runs.count());
        // What still decodes gives some words, whatever they are.
        decoder.addTo(buffer(runs.before().clone()), runs.words(), 0, runs.count(), false);
      } catch (BrokenBlockException e) {
        refused++;
      }
    }
    assertTrue(refused > 10_000, () -> "too few were refused for the mutations to have reached the decoder");
  }

  @Test
  void randomBytesAreRefusedOrDecoded() {
    Random random = new Random(8);
    int refused = 0;
    for (int round = 0; round < 20_000; round++) {
      Words words = Words.of(DType.values()[random.nextInt(DType.values().length)]);
      int count = 1 + random.nextInt(50);
      byte[] block = new byte[1 + random.nextInt(BlockEncoder.mostBytes(count, words.bytes()))];
      random.nextBytes(block);
      block[0] = (byte) random.nextInt(6);
      try {
        decode(block, words, count);
      } catch (BrokenBlockException e) {
        refused++;
      }
    }
    assertTrue(refused > 15_000);
  }

  private static byte[] mutate(byte[] block, Random random) {
    int most = block.length;
    switch (random.nextInt(4)) {
      case 0 -> block[random.nextInt(block.length)] ^= (byte) (1 << random.nextInt(8));
      case 1 -> {
        for (int i = 0; i < 4; i++) {
          block[random.nextInt(Math.min(block.length, 40))] = (byte) random.nextInt();
        }
      }
      case 2 -> most = 1 + random.nextInt(block.length);
      default -> {
        int from = random.nextInt(block.length);
        Arrays.fill(block, from, Math.min(block.length, from + 1 + random.nextInt(8)), (byte) (random.nextBoolean() ? -1 : 0));
      }
    }
    return Arrays.copyOf(block, most);
  }

  @Test
  void refusalsSayWhatIsWrong() {
    assertEquals("unknown form of block 9", refusal(Words.of(DType.U8), 4, 9));
    assertEquals("expected 4 bytes of differences but 1 are left", refusal(Words.of(DType.U8), 4, 4, 1));
    assertEquals("2 bytes are left over", refusal(Words.of(DType.U8), 1, 4, 1, 2, 3));
    assertEquals("the number of changed words must be a number of at most 4", refusal(Words.of(DType.U8), 4, 1, 5));
    assertEquals("the number of changed words must not be 0", refusal(Words.of(DType.U8), 4, 1, 0));
    assertEquals("changed word number 1 is at 4 of 4", refusal(Words.of(DType.U8), 4, 1, 2, 0, 1, 2, 1, 3));
    assertEquals("unknown kind of stream 3", refusal(Words.of(DType.U8), 4, 2, 3));
    assertEquals("the frequencies add up to 1, not 4096", refusal(Words.of(DType.U8), 4, 2, 2, 0, 0b010));
    assertEquals("a number has more than 16 bits", refusal(Words.of(DType.BF16), 4, 2, 1, 64));
    assertEquals("expected 8 bits of numbers but 0 bytes are left", refusal(Words.of(DType.BF16), 4, 2, 1, 16));
  }

  private String refusal(Words words, int count, int... block) {
    byte[] bytes = new byte[block.length];
    for (int i = 0; i < block.length; i++) {
      bytes[i] = (byte) block[i];
    }
    return assertThrows(BrokenBlockException.class, () -> decode(bytes, words, count)).getMessage();
  }
}
