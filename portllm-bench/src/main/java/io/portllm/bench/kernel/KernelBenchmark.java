package io.portllm.bench.kernel;

import io.portllm.DType;
import io.portllm.Merger;
import io.portllm.Rounding;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.AuxCounters;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/**
 * Each kernel over 64 MiB of weights, more than caches hold, on one thread. {@link KernelTable} runs it and prints what is moved a second
 * beside a plain copy.
 *
 * <p>{@link #setUp} compares the bytes and counts of one pass with those of plain Java before anything is timed.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 2, time = 500, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 5, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@Fork(1)
public class KernelBenchmark {
  /** Bytes of the weights. */
  static final int BYTES = 64 << 20;

  @Param({"BF16", "F16", "F32", "F8_E4M3", "F8_E5M2"})
  private DType dtype;

  @Param
  private KernelChange change;

  @Param
  private KernelImplementation implementation;

  private KernelChange.Work work;
  private ByteBuffer weights;
  private boolean isBack;

  /** Bytes that a pass moves, for the table. */
  @State(Scope.Thread)
  @AuxCounters(AuxCounters.Type.EVENTS)
  public static class Moved {
    private long bytes;

    /** Read by JMH. */
    public long bytesMoved() {
      return bytes;
    }
  }

  /** Makes the data and checks a pass over them. */
  @Setup
  public void setUp() throws IOException {
    int count = BYTES / dtype.bytes();
    weights = KernelChange.weights(dtype, count);
    work = change.work(implementation.merger(), dtype, count);
    ByteBuffer expected = Weights.copy(weights);
    KernelChange.Work oracle = change.work(Merger.scalar(), dtype, count);
    Rounding mine = pass(work, weights, false);
    Rounding reference = pass(oracle, expected, false);
    int at = weights.mismatch(expected);
    if (at >= 0 || !mine.equals(reference)) {
      throw new IllegalStateException("byte " + at + " differs from plain Java's, or counts do: " + mine + " and " + reference);
    }
    isBack = true;
  }

  private Rounding pass(KernelChange.Work each, ByteBuffer target, boolean back) throws IOException {
    int elements = KernelChange.chunkElements(dtype);
    Rounding total = Rounding.NONE;
    for (int chunk = 0; chunk < BYTES / dtype.bytes() / elements; chunk++) {
      total = total.plus(each.change(chunk, KernelChange.part(target, dtype, chunk * elements, elements), back));
    }
    return total;
  }

  /** One pass over the weights, forth and back in turn. */
  @Benchmark
  public Rounding change(Moved moved) throws IOException {
    moved.bytes = work.bytes();
    Rounding rounding = pass(work, weights, isBack);
    isBack = !isBack;
    return rounding;
  }
}
