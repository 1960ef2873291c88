package io.portllm.compress;

import com.google.common.collect.ImmutableSortedMap;
import com.google.common.collect.ImmutableSortedSet;
import io.portllm.Patch;
import java.util.Map;
import java.util.Objects;
import java.util.Set;

/**
 * A compressed patch and what it lost.
 *
 * @param patch the patch; its codes, but for those of bands, are computed each time they are read, so what it was made of must stay open
 * @param losses what each changed tensor lost, those kept whole included; replaced tensors are not in it
 * @param whole the tensors whose changes were kept as they were
 */
public record Compressed(Patch patch, Map<String, Loss> losses, Set<String> whole) {
  public Compressed {
    Objects.requireNonNull(patch, "patch");
    losses = ImmutableSortedMap.copyOf(losses);
    whole = ImmutableSortedSet.copyOf(whole);
  }

  /** What all tensors together lost. */
  public Loss total() {
    return losses.values().stream().reduce(new Loss(0, 0), Loss::plus);
  }
}
