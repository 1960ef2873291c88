package io.portllm.bench.quant;

import io.portllm.DType;
import io.portllm.internal.quant.BlockCodec;
import io.portllm.internal.quant.BlockCodecs;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * Quantises and dequantises whole files, for tools/fuzz_gguf_quants.py to compare with the reference.
 *
 * <pre>
 * Blocks list                          each type that has a codec, whether it is written, the weights and bytes of a block
 * Blocks quantise TYPE VALUES BLOCKS   little-endian float32 to blocks
 * Blocks dequantise TYPE BLOCKS VALUES
 * </pre>
 *
 * More than one job can be given, one after the other.
 */
public final class Blocks {
  private Blocks() {}

  /** Runs the jobs. */
  public static void main(String[] args) throws IOException {
    if (args.length == 1 && args[0].equals("list")) {
      for (DType type : DType.values()) {
        if (type.isQuantised() && type != DType.Q8_1) {
          System.out.println(type + " " + BlockCodecs.of(type).quantises() + " " + type.blockElements() + " " + type.blockBytes());
        }
      }
      return;
    }
    for (int i = 0; i < args.length; i += 4) {
      BlockCodec codec = BlockCodecs.of(DType.valueOf(args[i + 1]));
      ByteBuffer in = ByteBuffer.wrap(Files.readAllBytes(Path.of(args[i + 2]))).order(ByteOrder.LITTLE_ENDIAN);
      Files.write(Path.of(args[i + 3]), (args[i].equals("quantise") ? quantise(codec, in) : dequantise(codec, in)).array());
    }
  }

  private static ByteBuffer quantise(BlockCodec codec, ByteBuffer in) {
    float[] values = new float[in.remaining() / Float.BYTES];
    in.asFloatBuffer().get(values);
    ByteBuffer out = buffer(values.length / codec.type().blockElements() * codec.type().blockBytes());
    codec.quantise(values, 0, values.length, out, 0);
    return out;
  }

  private static ByteBuffer dequantise(BlockCodec codec, ByteBuffer in) {
    float[] values = new float[in.remaining() / codec.type().blockBytes() * codec.type().blockElements()];
    codec.dequantise(in, 0, values, 0, values.length);
    ByteBuffer out = buffer(Float.BYTES * values.length);
    out.asFloatBuffer().put(values);
    return out;
  }

  private static ByteBuffer buffer(int bytes) {
    return ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }
}
