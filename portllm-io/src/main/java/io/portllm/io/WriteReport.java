package io.portllm.io;

import com.google.common.collect.ImmutableSortedMap;
import io.portllm.Rounding;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;

/**
 * What was written.
 *
 * @param output the file or folder
 * @param tensors the number of tensors
 * @param bytes their size in bytes
 * @param rounding for each changed tensor, what rounding did
 * @param elapsed how long it took
 */
public record WriteReport(Path output, int tensors, long bytes, Map<String, Rounding> rounding, Duration elapsed) {
  public WriteReport {
    rounding = ImmutableSortedMap.copyOf(rounding);
  }

  /** What rounding did in all tensors together. */
  public Rounding total() {
    return rounding.values().stream().reduce(Rounding.NONE, Rounding::plus);
  }
}
