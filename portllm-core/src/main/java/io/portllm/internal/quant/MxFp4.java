package io.portllm.internal.quant;

import io.portllm.DType;

/** MXFP4: one E8M0 scale, the power of two e − 127, then sixteen bytes of two E2M1 codes; value = level·2^(e − 127). */
final class MxFp4 extends BlockwiseCodec {
  MxFp4() {
    super(DType.MXFP4, true);
  }

  @Override
  void read(byte[] block, int at, float[] values, int from) {
    Fp4.read(block, at + 1, 16, halfScale(Bytes.u8(block, at)), values, from);
  }

  @Override
  void write(float[] values, int from, byte[] block, int at) {
    float magnitude = Extremes.magnitude(values, from, 32);
    // Magnitudes below 2^-125 wrap around, as in the reference: their scale is huge and every code zero.
    int exponent = magnitude == 0 ? 0 : log2(magnitude) - 2 + 127 & 0xff;
    block[at] = (byte) exponent;
    Fp4.write(values, from, 16, halfScale(exponent), magnitude, block, at + 1);
  }

  private static float halfScale(int exponent) {
    return Float.intBitsToFloat(exponent < 2 ? 0x20_0000 << exponent : exponent - 1 << 23);
  }

  /** The floor of the float32 logarithm, which just below a power of two has been rounded up to that power's. */
  private static int log2(float magnitude) {
    int bits = Float.floatToRawIntBits(magnitude);
    if (bits >= 0x80_0000 && (bits & 0x7f_ff00) != 0x7f_ff00) {
      return (bits >>> 23) - 127;
    }
    return (int) Math.floor((float) (StrictMath.log(magnitude) / StrictMath.log(2)));
  }
}
