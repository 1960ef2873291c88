package io.portllm.internal.quant;

import io.portllm.DType;

/**
 * TQ1_0: 48 bytes of five ternary digits, four bytes of four, F16 scale d; value = (digit − 1)·d. The first 32 bytes hold elements 0 to
 * 159 (byte m, digit n: element 32·n + m), the next sixteen elements 160 to 239, the last four elements 240 to 255. A byte is the fraction
 * 0.abcde in base three, in units of 1/256 and rounded up, so that multiplying by three brings out one digit after the other.
 */
final class Tq10 extends BlockwiseCodec {
  private static final int SCALE = 52;
  private static final int[] POWERS = {1, 3, 9, 27, 81};

  Tq10() {
    super(DType.TQ1_0, true);
  }

  @Override
  void read(byte[] block, int at, float[] values, int from) {
    float d = Bytes.f16(block, at + SCALE);
    readDigits(block, at, 32, 5, d, values, from);
    readDigits(block, at + 32, 16, 5, d, values, from + 160);
    readDigits(block, at + 48, 4, 4, d, values, from + 240);
  }

  private static void readDigits(byte[] block, int at, int width, int digits, float d, float[] values, int from) {
    for (int n = 0; n < digits; n++) {
      int power = POWERS[n];
      for (int m = 0; m < width; m++) {
        int rest = block[at + m] * power & 0xff;
        values[from + n * width + m] = ((rest * 3 >> 8) - 1) * d;
      }
    }
  }

  @Override
  void write(float[] values, int from, byte[] block, int at) {
    float d = Extremes.magnitude(values, from, 256);
    float inverse = Tq20.ternaryReciprocal(d);
    writeDigits(values, from, inverse, block, at, 32, 5);
    writeDigits(values, from + 160, inverse, block, at + 32, 16, 5);
    writeDigits(values, from + 240, inverse, block, at + 48, 4, 4);
    Bytes.putF16(block, at + SCALE, d);
  }

  private static void writeDigits(float[] values, int from, float inverse, byte[] block, int at, int width, int digits) {
    for (int m = 0; m < width; m++) {
      int number = 0;
      for (int n = 0; n < digits; n++) {
        number = 3 * number + Rounds.halfAway(values[from + n * width + m] * inverse) + 1;
      }
      if (digits == 4) {
        number *= 3;
      }
      block[at + m] = (byte) ((number * 256 + 242) / 243);
    }
  }
}
