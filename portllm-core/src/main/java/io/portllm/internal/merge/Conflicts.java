package io.portllm.internal.merge;

import io.portllm.Delta;
import io.portllm.Patch;
import io.portllm.merge.ConflictReport;
import io.portllm.merge.ConflictReport.Conflict;
import io.portllm.merge.ConflictReport.Overlap;
import io.portllm.merge.ConflictReport.Pair;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;

/** Counts conflicts between patches. */
public final class Conflicts {
  private static final int BLOCK = 1 << 14;

  private final int patches;
  private final Gram gram;
  private long elements;
  private long shared;
  private long disagreeing;
  private double sharedMagnitude;
  private double disagreeingMagnitude;

  private Conflicts(int patches) {
    this.patches = patches;
    this.gram = Gram.none(patches);
  }

  /** The conflicts between {@code patches}. */
  public static ConflictReport between(List<Patch> patches) throws IOException {
    Conflicts total = new Conflicts(patches.size());
    List<Conflict> tensors = new ArrayList<>();
    for (Map.Entry<String, Inputs> entry : PatchTensors.of(patches).inputs().entrySet()) {
      Conflicts conflicts = new Conflicts(patches.size());
      conflicts.count(entry.getValue().all());
      List<Optional<List<LowRankSpace>>> spaces = new ArrayList<>();
      for (Patch patch : patches) {
        Delta delta = patch.deltas().get(entry.getKey());
        spaces.add(delta == null ? Optional.empty() : LowRankSpace.of(delta));
      }
      tensors.add(conflicts.report(entry.getKey(), spaces));
      total.add(conflicts);
    }
    return new ConflictReport(tensors, total.report("total", patches.stream().map(patch -> Optional.<List<LowRankSpace>>empty()).toList()));
  }

  private void count(List<Elements> changes) throws IOException {
    elements = changes.get(0).count();
    float[][] values = new float[patches][BLOCK];
    for (long first = 0; first < elements; first += BLOCK) {
      int count = (int) Math.min(BLOCK, elements - first);
      for (int i = 0; i < patches; i++) {
        changes.get(i).read(first, count, values[i]);
      }
      gram.add(values, 0, count);
      countSigns(values, count);
    }
  }

  private void countSigns(float[][] values, int count) {
    double sharedSum = 0;
    double disagreeingSum = 0;
    for (int e = 0; e < count; e++) {
      int positive = 0;
      int negative = 0;
      double magnitude = 0;
      for (float[] change : values) {
        positive += change[e] > 0 ? 1 : 0;
        negative += change[e] < 0 ? 1 : 0;
        magnitude += Math.abs(change[e]);
      }
      if (positive + negative > 1) {
        shared++;
        sharedSum += magnitude;
        if (positive > 0 && negative > 0) {
          disagreeing++;
          disagreeingSum += magnitude;
        }
      }
    }
    sharedMagnitude += sharedSum;
    disagreeingMagnitude += disagreeingSum;
  }

  private void add(Conflicts other) {
    elements += other.elements;
    shared += other.shared;
    disagreeing += other.disagreeing;
    sharedMagnitude += other.sharedMagnitude;
    disagreeingMagnitude += other.disagreeingMagnitude;
    gram.add(other.gram);
  }

  private Conflict report(String name, List<Optional<List<LowRankSpace>>> spaces) {
    List<Pair> pairs = new ArrayList<>();
    for (int i = 0; i < patches; i++) {
      for (int j = i + 1; j < patches; j++) {
        pairs.add(new Pair(i, j, gram.cosine(i, j), overlap(spaces.get(i), spaces.get(j))));
      }
    }
    List<Double> energies = IntStream.range(0, patches).mapToObj(i -> gram.product(i, i)).toList();
    return new Conflict(name, elements, shared, disagreeing, sharedMagnitude, disagreeingMagnitude, energies, pairs);
  }

  /** Of stacks, the spaces of all matrices together: their angles are those of the pairs of matrices. */
  private static Optional<Overlap> overlap(Optional<List<LowRankSpace>> first, Optional<List<LowRankSpace>> second) {
    if (first.isEmpty() || second.isEmpty() || first.get().size() != second.get().size()) {
      return Optional.empty();
    }
    List<Double> cosines = new ArrayList<>();
    for (int i = 0; i < first.get().size(); i++) {
      Arrays.stream(first.get().get(i).cosines(second.get().get(i))).forEach(cosines::add);
    }
    cosines.sort(Comparator.reverseOrder());
    return Optional.of(new Overlap(rank(first.get()), rank(second.get()), cosines));
  }

  private static int rank(List<LowRankSpace> spaces) {
    return spaces.stream().mapToInt(LowRankSpace::rank).sum();
  }
}
