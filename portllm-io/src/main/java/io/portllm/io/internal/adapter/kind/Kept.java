package io.portllm.io.internal.adapter.kind;

import com.google.common.base.Throwables;
import com.google.common.cache.Cache;
import com.google.common.cache.CacheBuilder;
import java.io.IOException;
import java.util.concurrent.ExecutionException;

/**
 * What is computed once for a tensor and needed by each of its chunks: the last few results, up to 32 MB or the one that is larger. Safe for
 * use by many threads; a result that several of them need at once is computed by one.
 */
final class Kept {
  private static final int MOST = 32 << 20;

  private final Cache<Key, Entry> entries =
      CacheBuilder.newBuilder().concurrencyLevel(1).maximumWeight(MOST).<Key, Entry>weigher((key, entry) -> entry.weight()).build();

  private record Key(Object owner, Object about) {}

  private record Entry(Object result, int weight) {}

  /** Computes a result. */
  interface Computation<T> {
    T compute() throws IOException;
  }

  /** The floats that {@code owner} computed about {@code about}, two objects that are told apart by {@code equals}. */
  float[] floats(Object owner, Object about, Computation<float[]> computation) throws IOException {
    return (float[]) get(owner, about, () -> {
      float[] result = computation.compute();
      return new Entry(result, (int) Math.min(MOST, 4L * result.length));
    });
  }

  /** The doubles that {@code owner} computed about {@code about}, two objects that are told apart by {@code equals}. */
  double[] doubles(Object owner, Object about, Computation<double[]> computation) throws IOException {
    return (double[]) get(owner, about, () -> {
      double[] result = computation.compute();
      return new Entry(result, (int) Math.min(MOST, 8L * result.length));
    });
  }

  private Object get(Object owner, Object about, Computation<Entry> computation) throws IOException {
    try {
      return entries.get(new Key(owner, about), computation::compute).result();
    } catch (ExecutionException e) {
      Throwables.throwIfInstanceOf(e.getCause(), IOException.class);
      throw new IllegalStateException(e.getCause());
    }
  }
}
