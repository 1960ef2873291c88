package io.portllm.internal.merge;

import java.io.IOException;
import java.util.Optional;

/** A value computed when it is first asked for. Safe for use by many threads: the others wait for the first. */
final class Memo<T> {
  /** Computes the value. */
  interface Source<T> {
    T compute() throws IOException;
  }

  private final Source<T> source;
  private volatile Optional<T> value = Optional.empty();

  Memo(Source<T> source) {
    this.source = source;
  }

  T get() throws IOException {
    if (value.isEmpty()) {
      synchronized (this) {
        if (value.isEmpty()) {
          value = Optional.of(source.compute());
        }
      }
    }
    return value.get();
  }
}
