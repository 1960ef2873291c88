package io.portllm.bench.quant;

import io.portllm.DType;
import io.portllm.internal.quant.BlockCodec;
import io.portllm.internal.quant.BlockCodecs;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Locale;
import java.util.Random;

/**
 * Prints, for each type, the million weights that are read and written in a second of one core's time: unlike {@link
 * BlockCodecBenchmark}'s, figures that mean something on a machine with other work. For tools/speed_gguf_quants.py, which sets ggml's
 * beside them. All types run in one process, one after the other, as they do in a port of a mixed file.
 */
public final class CodecSpeed {
  private static final int WEIGHTS = 1 << 16;
  private static final int RUNS = 40;
  private static final long RUN_NANOS = 20_000_000;
  private static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();

  private CodecSpeed() {}

  /** Measures. */
  public static void main(String[] args) {
    float[] weights = new float[WEIGHTS];
    float[] decoded = new float[WEIGHTS];
    Random random = new Random(1);
    for (int i = 0; i < WEIGHTS; i++) {
      weights[i] = (float) random.nextGaussian() * 0.02f;
    }
    for (DType type : DType.values()) {
      if (!type.isQuantised() || type == DType.Q8_1) {
        continue;
      }
      BlockCodec codec = BlockCodecs.of(type);
      ByteBuffer blocks = ByteBuffer.allocateDirect(WEIGHTS / type.blockElements() * type.blockBytes()).order(ByteOrder.LITTLE_ENDIAN);
      byte[] bytes = new byte[blocks.capacity()];
      random.nextBytes(bytes);
      blocks.put(0, bytes);
      double write = codec.quantises() ? best(() -> codec.quantise(weights, 0, WEIGHTS, blocks, 0)) : 0;
      double read = best(() -> codec.dequantise(blocks, 0, decoded, 0, WEIGHTS));
      System.out.printf(Locale.ROOT, "%s %.1f %.1f%n", type, read, write);
    }
  }

  private static double best(Runnable job) {
    double best = 0;
    for (int run = 0; run < RUNS; run++) {
      long start = THREADS.getCurrentThreadCpuTime();
      long nanos;
      long weights = 0;
      do {
        job.run();
        weights += WEIGHTS;
        nanos = THREADS.getCurrentThreadCpuTime() - start;
      } while (nanos < RUN_NANOS);
      best = Math.max(best, 1e3 * weights / nanos);
    }
    return best;
  }
}
