package io.portllm.internal.quant;

import io.portllm.DType;

/** IQ4_NL: F16 d, sixteen bytes of two codes; value = d·level, of the {@link NonLinear} levels. */
final class Iq4Nl extends BlockwiseCodec {
  Iq4Nl() {
    super(DType.IQ4_NL, true);
  }

  /** As ggml's {@code quantize_iq4_nl} without importances. */
  @Override
  BlockWriter writer() {
    NonLinearSearch search = new NonLinearSearch();
    return (values, from, blocks, target, at) -> {
      for (int i = 0; i < blocks; i++) {
        int source = from + 32 * i;
        float scale = search.search(values, source);
        Bytes.putF16(target, at + 18 * i, scale);
        NonLinear.write(values, source, Rounds.reciprocal(scale), target, at + 18 * i + 2);
      }
    };
  }

  @Override
  void read(byte[] block, int at, float[] values, int from) {
    NonLinear.read(block, at + 2, Bytes.f16(block, at), values, from);
  }
}
