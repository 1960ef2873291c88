package io.portllm.internal.quant;

import io.portllm.DType;

/** Q8_K: F32 d, 256 signed bytes, sixteen sums that only products use; value = d·code. The reference never stores it in files. */
final class Q8K extends BlockwiseCodec {
  Q8K() {
    super(DType.Q8_K, false);
  }

  @Override
  void read(byte[] block, int at, float[] values, int from) {
    float d = Bytes.f32(block, at);
    for (int i = 0; i < 256; i++) {
      values[from + i] = d * block[at + 4 + i];
    }
  }
}
