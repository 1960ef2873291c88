package io.portllm.bench.quant;

import io.portllm.DType;
import io.portllm.internal.quant.BlockCodec;
import io.portllm.internal.quant.BlockCodecs;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OperationsPerInvocation;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/**
 * Weights quantised and dequantised per microsecond on one core: normal weights between a direct buffer, as of a mapped file, and an array.
 *
 * <p>Run: {@code mvn -q -B -ntp -DskipTests package && mvn -q -B -ntp -pl portllm-bench exec:exec@jmh}
 *
 * <p>{@link #setUp} checks that the blocks hold the weights to within the type's error before anything is timed.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 3, time = 1)
@Fork(1)
public class BlockCodecBenchmark {
  private static final int ELEMENTS = 1 << 16;

  @Param({
    "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_K", "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S",
    "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS", "IQ1_M", "TQ1_0", "TQ2_0", "MXFP4", "NVFP4", "Q1_0", "Q2_0"
  })
  private DType dtype;

  private BlockCodec codec;
  private float[] weights;
  private float[] decoded;
  private ByteBuffer blocks;
  private ByteBuffer encoded;

  /** Makes the data. */
  @Setup
  public void setUp() {
    codec = BlockCodecs.of(dtype);
    Random random = new Random(1);
    weights = new float[ELEMENTS];
    for (int i = 0; i < ELEMENTS; i++) {
      weights[i] = (float) random.nextGaussian() * 0.02f;
    }
    decoded = new float[ELEMENTS];
    blocks = buffer();
    encoded = buffer();
    if (codec.quantises()) {
      codec.quantise(weights, 0, ELEMENTS, blocks, 0);
      check();
    } else {
      byte[] bytes = new byte[blocks.capacity()];
      random.nextBytes(bytes);
      blocks.put(0, bytes);
    }
  }

  private void check() {
    codec.dequantise(blocks, 0, decoded, 0, ELEMENTS);
    double error = 0;
    double sum = 0;
    for (int i = 0; i < ELEMENTS; i++) {
      error += Math.pow(weights[i] - decoded[i], 2);
      sum += Math.pow(weights[i], 2);
    }
    if (!(error < sum)) {
      throw new IllegalStateException("the error of " + dtype + " is " + Math.sqrt(error / sum) + " of the weights");
    }
  }

  private ByteBuffer buffer() {
    return ByteBuffer.allocateDirect(ELEMENTS / dtype.blockElements() * dtype.blockBytes()).order(ByteOrder.LITTLE_ENDIAN);
  }

  /** Blocks to weights. */
  @Benchmark
  @OperationsPerInvocation(ELEMENTS)
  public float[] dequantise() {
    codec.dequantise(blocks, 0, decoded, 0, ELEMENTS);
    return decoded;
  }

  /** Weights to blocks; of types that cannot be written, no measurement. */
  @Benchmark
  @OperationsPerInvocation(ELEMENTS)
  public ByteBuffer quantise() {
    codec.quantise(weights, 0, ELEMENTS, encoded, 0);
    return encoded;
  }
}
