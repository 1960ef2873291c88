package io.portllm.internal.quant;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.DType;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.zip.GZIPInputStream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Codecs against bytes and values of ggml's reference code. The small file is made by tools/golden_gguf_quants.py, which says from what; it
 * holds the odd rows: constants, zeros of both signs, outliers, scales that F16 holds as subnormals or not at all.
 */
class BlockCodecsTest {
  private static final Path LARGE = Path.of("../../shared/golden/gguf-quants");

  static List<BlockCodec> codecs() {
    return Arrays.stream(DType.values()).filter(type -> type.isQuantised() && type != DType.Q8_1).map(BlockCodecs::of).toList();
  }

  @ParameterizedTest
  @MethodSource("codecs")
  void randomBlocksHoldTheReferencesValues(BlockCodec codec) throws IOException {
    GoldenTensors golden = small();
    assertDequantised(golden.bytes(name(codec) + ".random"), golden.floats(name(codec) + ".dequantised"), codec);
  }

  @ParameterizedTest
  @MethodSource("codecs")
  void oddRowsBecomeTheReferencesBytes(BlockCodec codec) throws IOException {
    GoldenTensors golden = small();
    if (!golden.has(name(codec) + ".quantised")) {
      assertFalse(codec.quantises());
    } else if (codec.quantises()) {
      assertQuantised(golden.floats("input"), golden.bytes(name(codec) + ".quantised"), codec);
    } else {
      Assumptions.abort(codec.type() + " is only read");
    }
  }

  @ParameterizedTest
  @MethodSource("codecs")
  void manyRandomBlocksHoldTheReferencesValues(BlockCodec codec) throws IOException {
    GoldenTensors golden = large(name(codec) + "-random-blocks.safetensors");
    assertDequantised(golden.bytes("quantised"), golden.floats("dequantised"), codec);
  }

  @ParameterizedTest
  @MethodSource("codecs")
  void manyRowsBecomeTheReferencesBytesAndValues(BlockCodec codec) throws IOException {
    GoldenTensors golden = large(name(codec) + ".safetensors");
    assertDequantised(golden.bytes("quantised"), golden.floats("dequantised"), codec);
    if (codec.quantises()) {
      assertQuantised(golden.floats("input"), golden.bytes("quantised"), codec);
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0", "MXFP4", "Q1_0", "Q2_0"})
  void valuesThatBlocksHoldBecomeTheSameBlocksAgain(DType type) {
    BlockCodec codec = BlockCodecs.of(type);
    Random random = new Random(type.ordinal());
    float[] values = new float[1 << 16];
    for (int i = 0; i < values.length; i++) {
      // Scales that F16 holds as normal numbers, one for each 256.
      values[i] = (float) (random.nextGaussian() * Math.pow(2, (i >> 8) % 16 - 8));
    }
    ByteBuffer blocks = ByteBuffer.allocate(values.length / type.blockElements() * type.blockBytes()).order(ByteOrder.LITTLE_ENDIAN);
    codec.quantise(values, 0, values.length, blocks, 0);
    codec.dequantise(blocks, 0, values, 0, values.length);
    assertQuantised(values, blocks, codec);
  }

  @Test
  void onlyQuantisedTypesOfWeightsHaveCodecs() {
    assertSame(DType.Q4_K, BlockCodecs.of(DType.Q4_K).type());
    Exception plain = assertThrows(IllegalArgumentException.class, () -> BlockCodecs.of(DType.F32));
    assertEquals("F32 is not a quantised type", plain.getMessage());
    Exception products = assertThrows(IllegalArgumentException.class, () -> BlockCodecs.of(DType.Q8_1));
    assertEquals("Q8_1 is a type of intermediate products: no weights are stored as Q8_1", products.getMessage());
  }

  @ParameterizedTest
  @MethodSource("codecs")
  void partsOfBlocksAreRefused(BlockCodec codec) {
    int elements = codec.type().blockElements() + 1;
    Exception e = assertThrows(
        IllegalArgumentException.class, () -> codec.dequantise(ByteBuffer.allocate(1024), 0, new float[elements], 0, elements));
    assertTrue(e.getMessage().endsWith("blocks of " + (elements - 1) + " elements, but there are " + elements), e.getMessage());
  }

  @ParameterizedTest
  @MethodSource("codecs")
  void typesThatCannotBeWrittenSaySo(BlockCodec codec) {
    int elements = codec.type().blockElements();
    ByteBuffer target = ByteBuffer.allocate(codec.type().blockBytes());
    if (codec.quantises()) {
      codec.quantise(new float[elements], 0, elements, target, 0);
      float[] zeros = new float[elements];
      codec.dequantise(target, 0, zeros, 0, elements);
      for (float zero : zeros) {
        assertEquals(0, zero, 0f);
      }
    } else {
      Exception e =
          assertThrows(UnsupportedOperationException.class, () -> codec.quantise(new float[elements], 0, elements, target, 0));
      assertEquals("cannot write " + codec.type(), e.getMessage());
    }
  }

  private static void assertDequantised(ByteBuffer blocks, float[] expected, BlockCodec codec) {
    // Away from the start of both, and in a direct buffer as files are mapped.
    ByteBuffer direct = ByteBuffer.allocateDirect(blocks.remaining() + 3).order(ByteOrder.LITTLE_ENDIAN);
    direct.put(3, blocks, 0, blocks.remaining());
    float[] actual = new float[expected.length + 5];
    codec.dequantise(direct, 3, actual, 5, expected.length);
    for (int i = 0; i < expected.length; i++) {
      int element = i;
      assertEquals(
          Float.floatToRawIntBits(expected[i]),
          Float.floatToRawIntBits(actual[i + 5]),
          () -> "element " + element + " must be " + expected[element] + " but is " + actual[element + 5]);
    }
  }

  private static void assertQuantised(float[] input, ByteBuffer expected, BlockCodec codec) {
    float[] values = new float[input.length + 5];
    System.arraycopy(input, 0, values, 5, input.length);
    ByteBuffer actual = ByteBuffer.allocateDirect(expected.remaining() + 3).order(ByteOrder.LITTLE_ENDIAN);
    codec.quantise(values, 5, input.length, actual, 3);
    int mismatch = expected.mismatch(actual.slice(3, expected.remaining()));
    int bytes = codec.type().blockBytes();
    assertEquals(-1, mismatch, () -> "block " + mismatch / bytes + " differs from byte " + mismatch % bytes + " on");
  }

  private static String name(BlockCodec codec) {
    return codec.type().name().toLowerCase(Locale.ROOT);
  }

  private static GoldenTensors small() throws IOException {
    try (InputStream in = new GZIPInputStream(BlockCodecsTest.class.getResourceAsStream("golden.safetensors.gz"))) {
      return new GoldenTensors(in.readAllBytes());
    }
  }

  private static GoldenTensors large(String file) throws IOException {
    Assumptions.assumeTrue(Files.isDirectory(LARGE), "the large goldens are not here");
    Assumptions.assumeTrue(Files.exists(LARGE.resolve(file)), "the reference writes no such blocks unless it is given importances");
    return new GoldenTensors(Files.readAllBytes(LARGE.resolve(file)));
  }
}
