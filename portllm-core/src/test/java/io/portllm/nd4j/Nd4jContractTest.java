package io.portllm.nd4j;

import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Random;
import org.bytedeco.javacpp.BytePointer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.EnumSource.Mode;
import org.nd4j.linalg.api.blas.BlasException;
import org.nd4j.linalg.api.buffer.DataBuffer;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.indexing.NDArrayIndex;

/**
 * What is true of ND4J 1.0.0-M2.1's CPU backend, right or wrong. The package relies on what is right and goes around what is wrong:
 * a test that fails after an upgrade names a workaround that can go, or a foundation that is gone.
 *
 * <p>One fact is not tested because it kills the JVM (SIGSEGV in libnd4jcpu): the first operation on an array wrapped around an
 * address that is not a multiple of its element size. Arrays are therefore never wrapped around memory of others.
 */
class Nd4jContractTest {
  private static final float LIMIT = 1 << 24;

  // Reductions: wrong, never used.

  @Test
  void floatSumStopsAt2Pow24() {
    INDArray array = limitThenOnes(LIMIT, DataType.FLOAT, 100);
    assertAll(
        () -> assertNotEquals(LIMIT + 100.0, array.sumNumber().doubleValue()),
        () -> assertNotEquals(LIMIT + 100.0, array.sum().getDouble(0)),
        () -> assertNotEquals(LIMIT + 100.0, array.norm1Number().doubleValue()));
  }

  @Test
  void floatMeanStopsWithTheSum() {
    assertNotEquals((float) ((LIMIT + 1000.0) / 1001), limitThenOnes(LIMIT, DataType.FLOAT, 1000).meanNumber().floatValue());
  }

  @Test
  void floatNorm2StopsAt2Pow12() {
    double norm = limitThenOnes(4096, DataType.FLOAT, 1000).norm2Number().doubleValue();
    assertEquals(4096, norm);
    assertNotEquals((float) Math.sqrt(LIMIT + 1000.0), (float) norm);
  }

  @Test
  void doubleSumOfAFloatArrayIsRight() {
    assertEquals(LIMIT + 100.0, limitThenOnes(LIMIT, DataType.FLOAT, 100).castTo(DataType.DOUBLE).sumNumber().doubleValue());
  }

  @Test
  void bf16ReductionsAccumulateInBf16() {
    INDArray ones = Nd4j.ones(DataType.BFLOAT16, 1000);
    assertAll(
        () -> assertEquals(256, ones.sumNumber().doubleValue()),
        () -> assertEquals(256, ones.norm1Number().doubleValue()),
        () -> assertEquals(16, ones.norm2Number().doubleValue()),
        () -> assertEquals(0.255859375, ones.meanNumber().doubleValue()));
  }

  @Test
  void halfNorm2OverflowsWhereTheSquaresDo() {
    INDArray array = half(256);
    assertEquals(Double.POSITIVE_INFINITY, array.norm2Number().doubleValue());
  }

  // Buffers.

  @ParameterizedTest
  @EnumSource(value = DataType.class, names = {"BFLOAT16", "UINT16", "UINT32", "UINT64", "BOOL"})
  void createBufferOfAByteBufferReturnsOtherBytes(DataType type) {
    byte[] bytes = pattern(4096);
    assertFalse(Arrays.equals(bytes, throughCreateBuffer(bytes, type)));
  }

  @ParameterizedTest
  @EnumSource(value = DataType.class, names = {"DOUBLE", "FLOAT", "HALF", "BYTE", "UBYTE", "SHORT", "INT", "LONG"})
  void createBufferOfAByteBufferCopiesOtherTypes(DataType type) {
    byte[] bytes = pattern(4096);
    assertArrayEquals(bytes, throughCreateBuffer(bytes, type));
  }

  @ParameterizedTest
  @EnumSource(value = DataType.class, names = {"UTF8", "COMPRESSED", "UNKNOWN"}, mode = Mode.EXCLUDE)
  void pointersOfViewsAreTheBuffersAndAddressPointersTheViews(DataType type) {
    INDArray whole = Nd4j.createUninitialized(type, 3, 5);
    INDArray view = whole.get(NDArrayIndex.interval(1, 3), NDArrayIndex.interval(2, 5));
    long start = whole.data().addressPointer().address();
    assertAll(
        () -> assertEquals(7, view.offset()),
        () -> assertEquals(start, view.data().pointer().address()),
        () -> assertEquals(start + 7L * type.width(), view.data().addressPointer().address()),
        () -> assertArrayEquals(new long[] {5, 1}, view.stride()));
  }

  @Test
  void closingAnArrayMarksItsViewsClosed() {
    INDArray whole = Nd4j.create(DataType.FLOAT, 4, 4);
    INDArray row = whole.getRow(1);
    whole.close();
    assertTrue(whole.wasClosed());
    assertTrue(row.wasClosed());
  }

  // BFLOAT16 scalars: truncated, never used.

  @Test
  void bf16ScalarsAreTruncated() {
    float truncated = 0.298828125f;
    assertAll(
        () -> assertEquals(truncated, Nd4j.ones(DataType.BFLOAT16, 1).muli(0.3).getFloat(0)),
        () -> assertEquals(truncated, Nd4j.zeros(DataType.BFLOAT16, 1).addi(0.3).getFloat(0)),
        () -> assertEquals(truncated, Nd4j.zeros(DataType.BFLOAT16, 1).putScalar(0, 0.3).getFloat(0)),
        () -> assertEquals(truncated, Nd4j.zeros(DataType.BFLOAT16, 1).assign(0.3).getFloat(0)),
        () -> assertEquals(truncated, Nd4j.scalar(DataType.BFLOAT16, 0.3).getFloat(0)),
        () -> assertEquals(truncated, Nd4j.valueArrayOf(new long[] {1}, 0.3, DataType.BFLOAT16).getFloat(0)),
        () -> assertEquals(
            truncated, Nd4j.create(new float[] {0.3f}, new long[] {1}, new long[] {1}, 'c', DataType.BFLOAT16).getFloat(0)));
  }

  @Test
  void bf16TimesAFloatArrayRoundsToNearest() {
    assertEquals(0.30078125f, Nd4j.ones(DataType.BFLOAT16, 1).muli(floats(0.3f)).getFloat(0));
  }

  @Test
  void halfAndFloatScalarsAreRounded() {
    assertAll(
        () -> assertEquals(0.300048828125f, Nd4j.ones(DataType.FLOAT16, 1).muli(0.3).getFloat(0)),
        () -> assertEquals(0.3f, Nd4j.ones(DataType.FLOAT, 1).muli(0.3).getFloat(0)),
        () -> assertEquals(0.3, Nd4j.ones(DataType.DOUBLE, 1).muli(0.3).getDouble(0)));
  }

  // Casts.

  @Test
  void bf16ToFloatIsExactForAllPatterns() {
    int[] floats = ints(ofShorts(allShorts(), DataType.BFLOAT16).castTo(DataType.FLOAT));
    for (int pattern = 0; pattern < floats.length; pattern++) {
      assertEquals(pattern << 16, floats[pattern]);
    }
  }

  @Test
  void halfToFloatIsExactForAllFinitePatternsAndKeepsNaN() {
    INDArray halves = ofShorts(allShorts(), DataType.FLOAT16);
    INDArray floats = halves.castTo(DataType.FLOAT);
    short[] back = shorts(floats.castTo(DataType.FLOAT16));
    for (int pattern = 0; pattern < back.length; pattern++) {
      if ((pattern & 0x7c00) == 0x7c00 && (pattern & 0x3ff) != 0) {
        assertTrue(Float.isNaN(floats.getFloat(pattern)));
        assertEquals((short) 0x7fff, back[pattern]);
      } else {
        assertEquals((short) pattern, back[pattern]);
      }
    }
  }

  @Test
  void castToBf16RoundsToNearestEven() {
    Random random = new Random(7);
    int[] bits = random.ints(1 << 18).filter(b -> !Float.isNaN(Float.intBitsToFloat(b))).toArray();
    short[] rounded = shorts(ofInts(bits).castTo(DataType.BFLOAT16));
    for (int i = 0; i < bits.length; i++) {
      assertEquals((short) ((bits[i] + 0x7fff + ((bits[i] >>> 16) & 1)) >>> 16), rounded[i]);
    }
  }

  @Test
  void castToBf16LosesNaNs() {
    short[] cast = shorts(ofInts(new int[] {0x7fff_ffff, 0x7fff_8000, 0x7f80_0001, 0x7fc1_0000}).castTo(DataType.BFLOAT16));
    assertArrayEquals(new short[] {(short) 0x8000, (short) 0x8000, 0x7f80, 0x7fc1}, cast);
  }

  @Test
  void castToHalfMakesOneNaNOfAll() {
    short[] cast = shorts(ofInts(new int[] {0x7f80_0001, 0x7fc0_0000, 0xffc1_2345}).castTo(DataType.FLOAT16));
    assertArrayEquals(new short[] {0x7fff, 0x7fff, 0x7fff}, cast);
  }

  @Test
  void doubleToFloatRoundsToNearestEvenSubnormalsIncluded() {
    Random random = new Random(8);
    double[] doubles = new double[10_000];
    for (int i = 0; i < doubles.length; i++) {
      doubles[i] = Math.scalb(random.nextGaussian(), random.nextInt(300) - 160);
    }
    INDArray floats = Nd4j.createFromArray(doubles).castTo(DataType.FLOAT);
    for (int i = 0; i < doubles.length; i++) {
      assertEquals((float) doubles[i], floats.getFloat(i));
    }
  }

  // Element-wise arithmetic.

  @Test
  void floatArithmeticIsThatOfJavaSubnormalsIncluded() {
    Random random = new Random(9);
    float[] left = new float[10_000];
    float[] right = new float[left.length];
    for (int i = 0; i < left.length; i++) {
      left[i] = Math.scalb((float) random.nextGaussian(), random.nextInt(250) - 148);
      right[i] = Math.scalb((float) random.nextGaussian(), random.nextInt(8) + Math.getExponent(left[i]));
    }
    INDArray sum = floats(left).addi(floats(right));
    INDArray difference = floats(left).subi(floats(right));
    INDArray product = floats(left).muli(1 / 3.0);
    for (int i = 0; i < left.length; i++) {
      assertEquals(left[i] + right[i], sum.getFloat(i));
      assertEquals(left[i] - right[i], difference.getFloat(i));
      assertEquals(left[i] * (float) (1 / 3.0), product.getFloat(i));
    }
  }

  @Test
  void loadingNd4jLeavesSubnormalsToJava() {
    Nd4j.create(1);
    float half = floats(0.5f).getFloat(0);
    assertEquals(0x0040_0000, Float.floatToRawIntBits(Float.MIN_NORMAL * half));
  }

  @Test
  void bf16PlusBf16IsFloatArithmeticRoundedOnce() {
    Random random = new Random(10);
    float[] left = bf16Values(random, 10_000);
    float[] right = bf16Values(random, 10_000);
    INDArray expected = floats(left).addi(floats(right)).castTo(DataType.BFLOAT16);
    INDArray actual = floats(left).castTo(DataType.BFLOAT16).addi(floats(right).castTo(DataType.BFLOAT16));
    assertArrayEquals(shorts(expected), shorts(actual));
  }

  @Test
  void bf16PlusFloatRoundsTheFloatFirst() {
    // 1 + 2⁻⁸ + 2⁻¹⁶ is nearest to 1 + 2⁻⁷; with 2⁻⁸ + 2⁻¹⁶ rounded to 2⁻⁸ first, the tie goes to 1.
    INDArray sum = Nd4j.ones(DataType.BFLOAT16, 1).addi(floats(0x1.01p-8f));
    assertEquals(1, sum.getFloat(0));
    assertEquals(DataType.BFLOAT16, Nd4j.ones(DataType.BFLOAT16, 1).add(floats(1)).dataType());
    assertEquals(DataType.FLOAT16, Nd4j.ones(DataType.FLOAT16, 1).add(floats(1)).dataType());
  }

  @Test
  void floatPlusBf16IsFloatAndExact() {
    INDArray sum = floats(0x1.01p-8f).add(Nd4j.ones(DataType.BFLOAT16, 1));
    assertEquals(DataType.FLOAT, sum.dataType());
    assertEquals(1 + 0x1.01p-8f, sum.getFloat(0));
  }

  @Test
  void emptyArraysCannotBeAdded() {
    INDArray empty = Nd4j.create(DataType.FLOAT, 0, 5);
    assertThrows(IllegalStateException.class, () -> empty.add(empty));
    assertThrows(IllegalStateException.class, () -> empty.muli(2));
  }

  // Matrix products.

  @Test
  void floatProductsAreGood() {
    assertTrue(productError(DataType.FLOAT, 128) < 1e-6);
  }

  @Test
  void bf16ProductsAreInexact() {
    // Rounding the exact product to BF16 would give an error of about 0.0017.
    assertTrue(productError(DataType.BFLOAT16, 128) > 0.005);
  }

  @Test
  void halfProductsAreInexact() {
    // Rounding the exact product to HALF would give an error of about 0.0002.
    assertTrue(productError(DataType.FLOAT16, 128) > 0.0006);
  }

  @Test
  void productsOfTwoTypesAreRefused() {
    INDArray floats = Nd4j.ones(DataType.FLOAT, 2, 2);
    INDArray bf16 = Nd4j.ones(DataType.BFLOAT16, 2, 2);
    assertThrows(IllegalStateException.class, () -> floats.mmul(bf16));
    assertThrows(IllegalStateException.class, () -> bf16.mmul(floats));
  }

  // Singular values.

  @Test
  void svdOfNd4jFails() {
    INDArray matrix = Nd4j.rand(DataType.FLOAT, 6, 4);
    RuntimeException e = assertThrows(RuntimeException.class, () -> Nd4j.linalg().svd(matrix, true, true));
    assertTrue(e.getMessage().contains("svd"), e.getMessage());
  }

  @Test
  void gesvdInFOrderIsRight() {
    INDArray matrix = Nd4j.rand(DataType.FLOAT, 6, 4);
    INDArray s = Nd4j.create(DataType.FLOAT, 4);
    INDArray u = Nd4j.create(DataType.FLOAT, new long[] {6, 6}, 'f');
    INDArray vt = Nd4j.create(DataType.FLOAT, new long[] {4, 4}, 'f');
    Nd4j.getBlasWrapper().lapack().gesvd(matrix.dup('f'), s, u, vt);
    INDArray economy = u.get(NDArrayIndex.all(), NDArrayIndex.interval(0, 4));
    INDArray product = economy.mmul(Nd4j.diag(s)).mmul(vt);
    assertTrue(product.sub(matrix).amaxNumber().doubleValue() < 1e-5);
  }

  @Test
  void gesvdOfEconomyShapesInCOrderFails() {
    INDArray matrix = Nd4j.rand(DataType.FLOAT, 6, 4).dup('c');
    INDArray s = Nd4j.create(DataType.FLOAT, 4);
    INDArray u = Nd4j.create(DataType.FLOAT, new long[] {6, 4}, 'c');
    INDArray vt = Nd4j.create(DataType.FLOAT, new long[] {4, 4}, 'c');
    assertThrows(BlasException.class, () -> Nd4j.getBlasWrapper().lapack().gesvd(matrix, s, u, vt));
  }

  // Files.

  @Test
  void npyOfBf16HasATypeThatNumpyDoesNotRead() throws Exception {
    String bf16 = new String(Nd4j.toNpyByteArray(Nd4j.ones(DataType.BFLOAT16, 2)), StandardCharsets.ISO_8859_1);
    String half = new String(Nd4j.toNpyByteArray(Nd4j.ones(DataType.FLOAT16, 2)), StandardCharsets.ISO_8859_1);
    assertTrue(bf16.contains("'<?2'"));
    assertTrue(half.contains("'<f2'"));
  }

  private static INDArray limitThenOnes(float limit, DataType type, int ones) {
    float[] values = new float[ones + 1];
    Arrays.fill(values, 1);
    values[0] = limit;
    return floats(values).castTo(type);
  }

  private static byte[] throughCreateBuffer(byte[] bytes, DataType type) {
    ByteBuffer direct = ByteBuffer.allocateDirect(bytes.length).order(ByteOrder.nativeOrder()).put(bytes).rewind();
    DataBuffer buffer = Nd4j.createBuffer(direct, type, bytes.length / type.width());
    byte[] back = new byte[bytes.length];
    new BytePointer(buffer.addressPointer()).get(back);
    return back;
  }

  private static byte[] pattern(int length) {
    byte[] bytes = new byte[length];
    for (int i = 0; i < length; i++) {
      bytes[i] = (byte) (i * 7 + 3);
    }
    return bytes;
  }

  private static float[] bf16Values(Random random, int count) {
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = Float.intBitsToFloat(Float.floatToRawIntBits((float) random.nextGaussian()) & 0xffff_0000);
    }
    return values;
  }

  /** The error of a product of two Gaussian matrices of {@code type}, relative in the Frobenius norm. */
  private static double productError(DataType type, int size) {
    INDArray left = Nd4j.randn(DataType.FLOAT, size, size).castTo(type);
    INDArray right = Nd4j.randn(DataType.FLOAT, size, size).castTo(type);
    INDArray expected = left.castTo(DataType.DOUBLE).mmul(right.castTo(DataType.DOUBLE));
    INDArray error = left.mmul(right).castTo(DataType.DOUBLE).sub(expected);
    return error.norm2Number().doubleValue() / expected.norm2Number().doubleValue();
  }

  private static INDArray floats(float... values) {
    return Nd4j.createFromArray(values);
  }

  private static INDArray half(float... values) {
    return floats(values).castTo(DataType.FLOAT16);
  }

  private static short[] allShorts() {
    short[] all = new short[1 << 16];
    for (int i = 0; i < all.length; i++) {
      all[i] = (short) i;
    }
    return all;
  }

  private static INDArray ofShorts(short[] bits, DataType type) {
    INDArray array = Nd4j.createUninitialized(type, bits.length);
    memory(array).asShortBuffer().put(bits);
    return array;
  }

  private static INDArray ofInts(int[] bits) {
    INDArray array = Nd4j.createUninitialized(DataType.FLOAT, bits.length);
    memory(array).asIntBuffer().put(bits);
    return array;
  }

  private static short[] shorts(INDArray array) {
    short[] bits = new short[(int) array.length()];
    memory(array).asShortBuffer().get(bits);
    return bits;
  }

  private static int[] ints(INDArray array) {
    int[] bits = new int[(int) array.length()];
    memory(array).asIntBuffer().get(bits);
    return bits;
  }

  private static ByteBuffer memory(INDArray array) {
    long bytes = array.length() * array.dataType().width();
    return new BytePointer(array.data().addressPointer()).capacity(bytes).asByteBuffer().order(ByteOrder.nativeOrder());
  }
}
