package io.portllm.io.internal.gguf.lens;

import com.google.common.collect.ImmutableList;
import io.portllm.TensorInfo;
import java.util.List;

/**
 * A Hugging Face tensor as a GGUF file holds it.
 *
 * @param info the tensor as patches see it
 * @param stretches where its elements are, sorted by {@link Stretch#sourceStart}; elements in none are zero, as those of rows that the
 *     conversion cut off
 */
record Source(TensorInfo info, List<Stretch> stretches) {
  Source {
    stretches = ImmutableList.copyOf(stretches);
  }

  /** The number of the first stretch that ends behind {@code element}. */
  int stretchAt(long element) {
    int low = 0;
    int high = stretches.size();
    while (low < high) {
      int middle = (low + high) >>> 1;
      if (stretches.get(middle).sourceEnd() > element) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }
}
