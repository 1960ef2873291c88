package io.portllm.bench.kernel;

import io.portllm.DType;
import java.nio.ByteBuffer;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/** A plain copy of as many bytes as {@link KernelBenchmark} changes, on one thread: what no kernel can beat. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 2, time = 500, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 10, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@Fork(1)
public class CopyBenchmark {
  private final ByteBuffer source = Weights.normal(DType.BF16, KernelBenchmark.BYTES / 2, 1, 1);
  private final ByteBuffer target = Weights.copy(source);

  /** Reads and writes 64 MiB. */
  @Benchmark
  public ByteBuffer copy() {
    return target.put(0, source, 0, KernelBenchmark.BYTES);
  }
}
