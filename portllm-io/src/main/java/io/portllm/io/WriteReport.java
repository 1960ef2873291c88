package io.portllm.io;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableSortedMap;
import io.portllm.Rounding;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;

/**
 * What was written.
 *
 * @param output the file or folder
 * @param tensors the number of tensors
 * @param bytes their size in bytes
 * @param rounding for each changed tensor, what rounding did
 * @param requantisation for each changed tensor of a quantised type, what quantising it again did to the change
 * @param takenOver the weight files that an earlier write had finished and this one did not write again, see {@link WriteOptions#resuming};
 *     counted in all other figures
 * @param notTakenOver what an earlier write had left and this one could not use, a line each that says why
 * @param elapsed how long it took
 */
public record WriteReport(
    Path output,
    int tensors,
    long bytes,
    Map<String, Rounding> rounding,
    Map<String, Requantisation> requantisation,
    List<String> takenOver,
    List<String> notTakenOver,
    Duration elapsed) {
  public WriteReport {
    rounding = ImmutableSortedMap.copyOf(rounding);
    requantisation = ImmutableSortedMap.copyOf(requantisation);
    takenOver = ImmutableList.copyOf(takenOver);
    notTakenOver = ImmutableList.copyOf(notTakenOver);
  }

  /** A report of a write that found nothing to take over. */
  public WriteReport(
      Path output, int tensors, long bytes, Map<String, Rounding> rounding, Map<String, Requantisation> requantisation, Duration elapsed) {
    this(output, tensors, bytes, rounding, requantisation, List.of(), List.of(), elapsed);
  }

  /** What rounding did in all tensors together. */
  public Rounding total() {
    return rounding.values().stream().reduce(Rounding.NONE, Rounding::plus);
  }

  /** What quantising again did to the change in all tensors together. */
  public Requantisation totalRequantisation() {
    double changes = 0;
    double errors = 0;
    double overlap = 0;
    long changedBlocks = 0;
    long blocks = 0;
    for (Requantisation tensor : requantisation.values()) {
      double change = tensor.changeNorm() * tensor.changeNorm();
      changes += change;
      errors += tensor.errorNorm() * tensor.errorNorm();
      overlap += tensor.kept() * change;
      changedBlocks += tensor.changedBlocks();
      blocks += tensor.blocks();
    }
    return new Requantisation(Math.sqrt(changes), Math.sqrt(errors), changes == 0 ? 1 : overlap / changes, changedBlocks, blocks);
  }
}
