package io.portllm.internal.quant;

import com.google.common.collect.ImmutableMap;
import com.google.common.collect.Maps;
import io.portllm.DType;
import java.util.List;

/** The codecs of GGUF's quantised types. */
public final class BlockCodecs {
  private static final ImmutableMap<DType, BlockCodec> CODECS = Maps.uniqueIndex(
      List.<BlockCodec>of(
          new Q40(),
          new Q41(),
          new Q50(),
          new Q51(),
          new Q80(),
          new Q2K(),
          new Q3K(),
          new Q4K(),
          new Q5K(),
          new Q6K(),
          new Q8K(),
          new Iq2Xxs(),
          new Iq2Xs(),
          new Iq3Xxs(),
          new Iq1S(),
          new Iq4Nl(),
          new Iq3S(),
          new Iq2S(),
          new Iq4Xs(),
          new Iq1M(),
          new Tq10(),
          new Tq20(),
          new MxFp4(),
          new NvFp4(),
          new Q10(),
          new Q20()),
      BlockCodec::type);

  private BlockCodecs() {}

  /**
   * The codec of a quantised type.
   *
   * @throws IllegalArgumentException if {@code type} is not {@link DType#isQuantised quantised}, or is Q8_1, of which no weights are stored
   */
  public static BlockCodec of(DType type) {
    BlockCodec codec = CODECS.get(type);
    if (codec == null) {
      throw new IllegalArgumentException(
          type == DType.Q8_1
              ? "Q8_1 is a type of intermediate products: no weights are stored as Q8_1"
              : type + " is not a quantised type");
    }
    return codec;
  }
}
