package io.portllm.bench.kernel;

import io.portllm.internal.merge.Cut;
import io.portllm.internal.merge.Elements;
import io.portllm.internal.merge.Selection;
import java.io.IOException;
import java.util.Arrays;
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
 * Finding the magnitude above which a share of a 4096 × 4096 tensor lies, in weights per microsecond (millions a second) of one thread.
 * Counts every pass over the values, which are in memory; {@link #sort} finds the same line by sorting.
 *
 * <p>Run with {@code mvn -q -B -ntp -DskipTests package && mvn -q -B -ntp -pl portllm-bench exec:exec@jmh
 * -Dexec.args="-classpath %classpath org.openjdk.jmh.Main SelectionBenchmark"}
 *
 * <p>{@link #setUp} checks the line against the sorted values before anything is timed.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 3, time = 1)
@Fork(1)
public class SelectionBenchmark {
  private static final int ELEMENTS = 1 << 24;

  /** Values as fine-tuning leaves them: normal ones, and differences of bfloat16 weights, of which many are zero or equal. */
  @Param({"normal", "bf16"})
  private String values;

  @Param({"0.2"})
  private double density;

  private float[] changes;
  private Elements elements;

  /** Makes the data. */
  @Setup
  public void setUp() throws IOException {
    Random random = new Random(1);
    changes = new float[ELEMENTS];
    for (int i = 0; i < ELEMENTS; i++) {
      float change = (float) random.nextGaussian() * 1e-4f;
      if (values.equals("bf16")) {
        float weight = bfloat((float) random.nextGaussian() * 0.02f);
        change = bfloat(weight + change) - weight;
      }
      changes[i] = change;
    }
    elements = new Elements() {
      @Override
      public long count() {
        return ELEMENTS;
      }

      @Override
      public void read(long first, int count, float[] target) {
        System.arraycopy(changes, (int) first, target, 0, count);
      }
    };
    int line = sort();
    int found = histogram().get(0).key();
    if (found != line) {
      throw new IllegalStateException("the line must be at " + Float.intBitsToFloat(line) + " but is at " + Float.intBitsToFloat(found));
    }
  }

  private static float bfloat(float value) {
    int bits = Float.floatToRawIntBits(value);
    return Float.intBitsToFloat((bits + 0x7fff + (bits >>> 16 & 1)) & 0xffff_0000);
  }

  /** The library's way. */
  @Benchmark
  @OperationsPerInvocation(ELEMENTS)
  public List<Cut> histogram() throws IOException {
    return Selection.top(elements, (long) (density * ELEMENTS));
  }

  /** A sort of all magnitudes. */
  @Benchmark
  @OperationsPerInvocation(ELEMENTS)
  public int sort() {
    int[] magnitudes = new int[ELEMENTS];
    for (int i = 0; i < ELEMENTS; i++) {
      magnitudes[i] = Float.floatToRawIntBits(changes[i]) & Integer.MAX_VALUE;
    }
    Arrays.sort(magnitudes);
    return magnitudes[ELEMENTS - (int) (density * ELEMENTS)];
  }
}
