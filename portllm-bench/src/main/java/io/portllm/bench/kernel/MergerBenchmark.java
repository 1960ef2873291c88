package io.portllm.bench.kernel;

import io.portllm.DType;
import io.portllm.Merger;
import io.portllm.Rounding;
import io.portllm.internal.kernel.Conversion;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
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
 * Weights merged per microsecond on one core, beside a plain copy of as many bytes of the output.
 *
 * <p>Run: {@code mvn -q -B -ntp -DskipTests package && mvn -q -B -ntp -pl portllm-bench exec:exec@jmh}
 *
 * <p>A change is added and taken away in turn, so that the weights stay where they are. {@link #setUp} checks one merge against float
 * arithmetic before anything is timed.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 3, time = 1)
@Fork(1)
public class MergerBenchmark {
  private static final int ELEMENTS = 1 << 18;
  private static final int COLUMNS = 2048;
  private static final int RANK = 16;

  @Param({"BF16", "F16", "F32"})
  private DType dtype;

  /** The implementation; on JDK 25 and later {@code --add-modules jdk.incubator.vector} makes the fastest another than the scalar one. */
  @Param({"scalar", "fastest"})
  private String implementation;

  private Merger merger;

  private Merger.Chunk chunk;
  private ByteBuffer other;
  private List<List<Merger.Operand>> difference;
  private List<List<Merger.Operand>> scaled;
  private List<List<Merger.Operand>> lowRank;
  private int turn;

  /** Makes the data. */
  @Setup
  public void setUp() {
    merger = implementation.equals("scalar") ? Merger.scalar() : Merger.fastest();
    Random random = new Random(1);
    chunk = new Merger.Chunk(dtype, weights(random, 0.02f), ELEMENTS);
    other = weights(random, 0.02f);
    ByteBuffer tuned = weights(random, 0.02f);
    ByteBuffer base = weights(random, 0.02f);
    difference = List.of(difference(tuned, base, 1), difference(base, tuned, 1));
    scaled = List.of(difference(tuned, base, 0.75), difference(base, tuned, 0.75));
    float[] left = new float[ELEMENTS / COLUMNS * RANK];
    float[] right = new float[RANK * COLUMNS];
    for (int i = 0; i < left.length; i++) {
      left[i] = (float) random.nextGaussian() * 0.01f;
    }
    for (int i = 0; i < right.length; i++) {
      right[i] = (float) random.nextGaussian() * 0.01f;
    }
    lowRank = List.of(product(left, right, 2), product(left, right, -2));
    check();
  }

  private List<Merger.Operand> difference(ByteBuffer tuned, ByteBuffer base, double factor) {
    return List.of(new Merger.Difference(0, ELEMENTS, factor, dtype, tuned, dtype, base));
  }

  private static List<Merger.Operand> product(float[] left, float[] right, double factor) {
    return List.of(new Merger.LowRank(0, ELEMENTS, factor, 0, COLUMNS, RANK, left, right));
  }

  private void check() {
    if (dtype != DType.F32) {
      return;
    }
    ByteBuffer result = ByteBuffer.allocateDirect(4 * ELEMENTS).order(ByteOrder.LITTLE_ENDIAN).put(other.duplicate()).clear();
    merger.merge(new Merger.Chunk(dtype, result.order(ByteOrder.LITTLE_ENDIAN), ELEMENTS), scaled.get(0));
    Merger.Difference operand = (Merger.Difference) scaled.get(0).get(0);
    for (int i = 0; i < ELEMENTS; i++) {
      float expected = other.getFloat(4 * i) + 0.75f * (operand.tuned().getFloat(4 * i) - operand.base().getFloat(4 * i));
      if (result.getFloat(4 * i) != expected) {
        throw new IllegalStateException("element " + i + " must be " + expected + " but is " + result.getFloat(4 * i));
      }
    }
  }

  private ByteBuffer weights(Random random, float deviation) {
    ByteBuffer bytes = ByteBuffer.allocateDirect(ELEMENTS * dtype.bytes()).order(ByteOrder.LITTLE_ENDIAN);
    ByteBuffer values = ByteBuffer.allocate(4 * ELEMENTS).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < ELEMENTS; i++) {
      values.putFloat(4 * i, (float) random.nextGaussian() * deviation);
    }
    Conversion.convert(DType.F32, values, dtype, bytes, ELEMENTS);
    return bytes;
  }

  /** A plain copy of the output's bytes: what no merger can beat. */
  @Benchmark
  @OperationsPerInvocation(ELEMENTS)
  public ByteBuffer copy() {
    return chunk.bytes().duplicate().put(other.duplicate());
  }

  /** newBase + (tuned − base). */
  @Benchmark
  @OperationsPerInvocation(ELEMENTS)
  public Rounding difference() {
    return merger.merge(chunk, difference.get(turn++ & 1));
  }

  /** newBase + 0.75 · (tuned − base). */
  @Benchmark
  @OperationsPerInvocation(ELEMENTS)
  public Rounding scaledDifference() {
    return merger.merge(chunk, scaled.get(turn++ & 1));
  }

  /** newBase + 2 · B·A of rank 16. */
  @Benchmark
  @OperationsPerInvocation(ELEMENTS)
  public Rounding lowRank() {
    return merger.merge(chunk, lowRank.get(turn++ & 1));
  }
}
