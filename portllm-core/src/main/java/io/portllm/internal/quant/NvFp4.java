package io.portllm.internal.quant;

import io.portllm.DType;

/**
 * NVFP4: four unsigned E4M3 scales of sixteen elements each, then for each sixteen eight bytes of two E2M1 codes; value = level·scale.
 */
final class NvFp4 extends BlockwiseCodec {
  private static final int SCALES = 4;

  NvFp4() {
    super(DType.NVFP4, true);
  }

  @Override
  void read(byte[] block, int at, float[] values, int from) {
    for (int i = 0; i < SCALES; i++) {
      Fp4.read(block, at + SCALES + 8 * i, 8, halfScale(block[at + i]), values, from + 16 * i);
    }
  }

  @Override
  void write(float[] values, int from, byte[] block, int at) {
    for (int i = 0; i < SCALES; i++) {
      float magnitude = Extremes.magnitude(values, from + 16 * i, 16);
      int code = scaleCode(magnitude / 6);
      block[at + i] = (byte) code;
      Fp4.write(values, from + 16 * i, 8, halfScale(code), magnitude, block, at + SCALES + 8 * i);
    }
  }

  /** Half the scale; 0 for the code of NaN. Only that comparison sees the sign's bit. */
  private static float halfScale(int code) {
    if ((code & 0xff) == 0x7f) {
      return 0;
    }
    // E4M3's exponent has a bias of 7, float32's of 127: 2^120 moves it, subnormals included, and halving leaves 2^119.
    return Float.intBitsToFloat((code & 0x7f) << 20) * 0x1p119f;
  }

  /** Rounds as the reference does: ties away from zero, subnormals to at most code 7, and all that reaches 256 to 448, the largest. */
  private static int scaleCode(float scale) {
    int bits = Float.floatToRawIntBits(Math.min(scale, 448));
    int exponent = (bits >>> 23) - 127 + 7;
    if (exponent <= 0) {
      return Math.min(7, (int) (scale * 512 + 0.5f));
    }
    int code = (exponent << 23 | bits & 0x7f_ffff) + 0x8_0000 >>> 20;
    return code < 0x78 ? code : 0x7e;
  }
}
