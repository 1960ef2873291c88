package io.portllm.internal.kernel;

import io.portllm.DType;
import io.portllm.Merger;
import io.portllm.Rounding;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Merges with vectors once that pays. Until the JIT compiler has done with the Vector API's code, which takes it a second of a processor,
 * that code is slower than any other; {@link StagedMerger} is fast at once. So the first weights are merged by that one, then one run in
 * many by vectors, and as soon as these are as fast, all; unless so many are to come that vectors pay from the first
 * ({@link #expecting}). Each kind of change has compiled code, and so a beginning, of its own.
 */
final class WarmingMerger implements Merger {
  /** Weights merged without vectors: by then the others have cost as much processor time as compiling will. */
  static final long FIRST = 1L << 31;

  /** Weights for each processor from which on all are merged with vectors: half a second of little progress is then made up for. */
  static final long MANY = 1L << 30;

  /** Weights after which what is merged with vectors alone has been compiled. */
  private static final long COMPILED = 1L << 27;

  /** One run in so many is merged with vectors while these are being compiled. */
  private static final int ONE_IN = 64;

  /** Shorter runs say nothing of speed. */
  private static final int LONG_RUN = 1 << 16;

  /** How much slower one run with vectors may be than one without: amid others it finds cold caches. */
  private static final double ALLOWANCE = 1.25;

  private final Merger vectors;
  private final long first;
  private final Map<Kind, State> states = new ConcurrentHashMap<>();

  /**
   * A merger.
   *
   * @param vectors the one that is to be used in the end
   * @param first weights merged without it
   */
  WarmingMerger(Merger vectors, long first) {
    this.vectors = vectors;
    this.first = first;
  }

  /** What is compiled together. */
  private record Kind(DType weights, Class<?> change) {}

  /** How far a kind is. */
  private static final class State {
    final AtomicLong weights = new AtomicLong();
    final AtomicLong runs = new AtomicLong();
    volatile double stagedNanos = 0;
    volatile boolean warm;
  }

  @Override
  public Rounding merge(Chunk chunk, List<Operand> operands) {
    if (!StagedMerger.INSTANCE.isFor(chunk.dtype()) || operands.isEmpty()) {
      return vectors.merge(chunk, operands);
    }
    State state = state(chunk, operands);
    if (state.warm) {
      return vectors.merge(chunk, operands);
    }
    if (state.weights.addAndGet(chunk.elements()) <= first || chunk.elements() < LONG_RUN) {
      return StagedMerger.INSTANCE.merge(chunk, operands);
    }
    return compare(state, chunk, operands);
  }

  private State state(Chunk chunk, List<Operand> operands) {
    return states.computeIfAbsent(new Kind(chunk.dtype(), operands.get(0).getClass()), kind -> new State());
  }

  /** A merger for so many weights in all, on so many processors. */
  Merger expecting(long weights, int processors) {
    return weights / processors >= MANY ? new AtOnce() : this;
  }

  /** Merges all with vectors, and lets those know who come after it. */
  private final class AtOnce implements Merger {
    @Override
    public Rounding merge(Chunk chunk, List<Operand> operands) {
      if (!operands.isEmpty()) {
        State state = state(chunk, operands);
        if (!state.warm && state.weights.addAndGet(chunk.elements()) > COMPILED) {
          state.warm = true;
        }
      }
      return vectors.merge(chunk, operands);
    }

    @Override
    public String toString() {
      return vectors.toString();
    }
  }

  private Rounding compare(State state, Chunk chunk, List<Operand> operands) {
    boolean trial = state.runs.incrementAndGet() % ONE_IN == 0;
    long started = System.nanoTime();
    Rounding rounding = (trial ? vectors : StagedMerger.INSTANCE).merge(chunk, operands);
    double nanos = (double) (System.nanoTime() - started) / chunk.elements();
    if (!trial) {
      state.stagedNanos = nanos;
    } else if (nanos < ALLOWANCE * state.stagedNanos) {
      state.warm = true;
    }
    return rounding;
  }

  @Override
  public String toString() {
    return vectors.toString();
  }
}
