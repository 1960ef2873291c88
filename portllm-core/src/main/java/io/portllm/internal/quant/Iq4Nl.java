package io.portllm.internal.quant;

import io.portllm.DType;

/** IQ4_NL: F16 d, sixteen bytes of two codes; value = d·level, of the {@link NonLinear} levels. */
final class Iq4Nl extends BlockwiseCodec {
  Iq4Nl() {
    super(DType.IQ4_NL, false);
  }

  @Override
  void read(byte[] block, int at, float[] values, int from) {
    NonLinear.read(block, at + 2, Bytes.f16(block, at), values, from);
  }
}
