package io.portllm.bench.exact;

import io.portllm.DType;
import io.portllm.internal.kernel.Conversion;
import io.portllm.io.internal.exact.BlockDecoder;
import io.portllm.io.internal.exact.BlockEncoder;
import io.portllm.io.internal.exact.BrokenBlockException;
import io.portllm.io.internal.exact.Words;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Locale;
import java.util.Random;

/**
 * How fast one core encodes and decodes the blocks of exact patches, and how small they are. Prints a table.
 *
 * <p>Run: {@code mvn -q -B -ntp -DskipTests package && java -cp
 * portllm-bench/target/classes:portllm-io/target/classes:portllm-core/target/classes io.portllm.bench.exact.BlockSpeed}
 *
 * <p>Weights are N(0, 0.02), changed by N(0, deviation): at 1e-5 one bf16 weight in nine changes, at 1e-3 nearly all. Times are those of
 * the thread's processor, not of the clock, and of the best of several rounds, so that other work on the machine counts little. Each
 * block is taken there and back before it is timed.
 */
public final class BlockSpeed {
  private static final int COUNT = BlockEncoder.WORDS;
  private static final int ROUNDS = 9;
  private static final int CALLS = 200;
  private static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();

  private final DType dtype;
  private final Words words;
  private final ByteBuffer before;
  private final ByteBuffer after;
  private final ByteBuffer run;
  private final BlockEncoder encoder = new BlockEncoder();
  private final BlockDecoder decoder = new BlockDecoder();
  private final int length;

  private BlockSpeed(DType dtype, double deviation) throws BrokenBlockException {
    this.dtype = dtype;
    this.words = Words.of(dtype);
    Random random = new Random(1);
    ByteBuffer weights = ByteBuffer.allocate(4 * COUNT).order(ByteOrder.LITTLE_ENDIAN);
    ByteBuffer changed = ByteBuffer.allocate(4 * COUNT).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < COUNT; i++) {
      double weight = 0.02 * random.nextGaussian();
      weights.putFloat(4 * i, (float) weight);
      changed.putFloat(4 * i, (float) (weight + deviation * random.nextGaussian()));
    }
    before = convert(weights);
    after = convert(changed);
    run = buffer().put(before.duplicate()).clear().order(ByteOrder.LITTLE_ENDIAN);
    length = encoder.encode(words, before, after, COUNT);
    System.arraycopy(encoder.bytes(), 0, decoder.bytes(), 0, length);
    decode();
    if (run.mismatch(after) >= 0) {
      throw new IllegalStateException("the block does not give the weights that it was made of");
    }
  }

  private ByteBuffer buffer() {
    return ByteBuffer.allocateDirect(COUNT * dtype.bytes()).order(ByteOrder.LITTLE_ENDIAN);
  }

  private ByteBuffer convert(ByteBuffer floats) {
    ByteBuffer converted = buffer();
    Conversion.convert(DType.F32, floats, dtype, converted, COUNT);
    return converted;
  }

  private interface Work {
    void run() throws BrokenBlockException;
  }

  private void encode() {
    if (encoder.encode(words, before, after, COUNT) != length) {
      throw new IllegalStateException("the block has another length than before");
    }
  }

  /** Adds the differences to a run, whatever it holds by then. */
  private void decode() throws BrokenBlockException {
    decoder.decode(length, words, COUNT);
    decoder.addTo(run, words, 0, COUNT, false);
  }

  /** Weights a second, in millions. */
  private static double speed(Work work) throws BrokenBlockException {
    long best = Long.MAX_VALUE;
    for (int round = 0; round < ROUNDS; round++) {
      long start = THREADS.getCurrentThreadCpuTime();
      for (int call = 0; call < CALLS; call++) {
        work.run();
      }
      best = Math.min(best, THREADS.getCurrentThreadCpuTime() - start);
    }
    return 1e3 * CALLS * COUNT / best;
  }

  /** Prints the table. */
  public static void main(String[] args) throws BrokenBlockException {
    System.out.println(
        "| type | deviation | of the model's size | encoded, million weights/s | MB/s | decoded, million weights/s | MB/s |");
    System.out.println("|---|---|---|---|---|---|---|");
    for (DType dtype : new DType[] {DType.BF16, DType.F32}) {
      for (double deviation : new double[] {1e-5, 1e-4, 1e-3}) {
        BlockSpeed block = new BlockSpeed(dtype, deviation);
        double encoded = speed(block::encode);
        double decoded = speed(block::decode);
        System.out.printf(
            Locale.ROOT,
            "| %s | %.0e | %.1f %% | %.0f | %.0f | %.0f | %.0f |%n",
            dtype,
            deviation,
            100.0 * block.length / (COUNT * dtype.bytes()),
            encoded,
            encoded * dtype.bytes(),
            decoded,
            decoded * dtype.bytes());
      }
    }
  }
}
