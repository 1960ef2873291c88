package io.portllm.internal.portability;

import io.portllm.TensorInfo;
import io.portllm.portability.Lineage;
import io.portllm.portability.Lineage.Kind;
import java.util.Optional;
import java.util.OptionalDouble;

/** Concludes from the angles between old and new tensors whether one base descends from the other. */
final class LineageFinder {
  /** From this part of the patch, of the weights or of the matrices on, matrices that have nothing in common make the bases unrelated. */
  private static final double UNRELATED_FROM = 0.25;

  private final Sums all = new Sums();
  private int tensors;
  private int compared;
  private int identical;
  private int matrices;
  private int brokenMatrices;
  private double weights;
  private double brokenWeights;
  private double change;
  private double brokenChange;
  private double least = Double.POSITIVE_INFINITY;
  private String leastTensor;

  void add(TensorInfo tensor, Sums sums, boolean same) {
    tensors++;
    identical += same ? 1 : 0;
    if (!sums.hasUpdate) {
      return;
    }
    compared++;
    all.add(sums);
    // Vectors such as norms are all of one sign, and so resemble each other whatever models they are from.
    if (!Sketches.isMatrix(tensor.shape())) {
      return;
    }
    double cosine = Facts.cosine(sums);
    boolean broken = cosine < Lineage.BROKEN;
    matrices++;
    brokenMatrices += broken ? 1 : 0;
    weights += sums.elements;
    brokenWeights += broken ? sums.elements : 0;
    change += sums.metChangeSquares;
    brokenChange += broken ? sums.metChangeSquares : 0;
    if (cosine < least) {
      least = cosine;
      leastTensor = tensor.name();
    }
  }

  Lineage find() {
    // By number too: heads are a fifth of the weights of some models, and yet all is lost if they are in another order.
    double broken = Math.max(share(brokenMatrices, matrices), Math.max(share(brokenWeights, weights), share(brokenChange, change)));
    return new Lineage(
        kind(broken),
        compared,
        identical,
        compared == 0 ? OptionalDouble.empty() : OptionalDouble.of(Facts.cosine(all)),
        leastTensor == null ? OptionalDouble.empty() : OptionalDouble.of(least),
        Optional.ofNullable(leastTensor),
        broken);
  }

  private Kind kind(double broken) {
    if (tensors > 0 && identical == tensors) {
      return Kind.SAME;
    } else if (compared == 0) {
      return Kind.UNKNOWN;
    } else if (broken == 0) {
      return Kind.RELATED;
    }
    return broken < UNRELATED_FROM ? Kind.MIXED : Kind.UNRELATED;
  }

  private static double share(double part, double whole) {
    return whole == 0 ? 0 : part / whole;
  }
}
