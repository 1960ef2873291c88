package io.portllm.merge;

import java.util.Objects;

/**
 * A way to make one patch of several. All work on changes of weights (ΔW), never on the factors of adapters.
 *
 * <p>A tensor that a patch does not change counts as a change of zero. In the formulas N is the number of patches, δᵢ the change by patch
 * i and wᵢ its weight.
 */
public sealed interface MergeMethod {
  /** Σ wᵢ·δᵢ: task arithmetic (arXiv 2212.04089). Low-rank changes stay low-rank: stacking, as in FLoRA (arXiv 2409.05976). */
  record Sum() implements MergeMethod {
    @Override
    public String toString() {
      return "sum";
    }
  }

  /** Σ wᵢ·δᵢ / Σ wᵢ: the weighted mean, model soups (arXiv 2203.05482). Low-rank changes stay low-rank. */
  record Linear() implements MergeMethod {
    @Override
    public String toString() {
      return "linear";
    }
  }

  /**
   * TIES (arXiv 2306.01708): keeps the changes of greatest magnitude, elects a sign for each weight and averages the changes of that
   * sign. Signs are elected by Σ wᵢ·δᵢ, unless {@link Combination#COUNTED_MEAN} elects them without weights. With equal weights,
   * {@link Scope#PATCH} and {@link Combination#ELECTED_MEAN} it is the paper's.
   *
   * @param density the share that is kept, rounded down to whole elements
   * @param scope what the share is taken of
   * @param combination how the rest is added up
   */
  record Ties(double density, Scope scope, Combination combination) implements MergeMethod {
    public Ties {
      requireDensity(density);
      Objects.requireNonNull(scope, "scope");
      Objects.requireNonNull(combination, "combination");
    }

    /** TIES as published. */
    public Ties(double density) {
      this(density, Scope.PATCH, Combination.ELECTED_MEAN);
    }

    @Override
    public String toString() {
      return "ties(density " + density + " of each " + scope + ", " + combination + ")";
    }
  }

  /** What a share is taken of. */
  enum Scope {
    /** Each tensor by itself, as mergekit does. */
    TENSOR("tensor"),
    /** All tensors that the patch changes together, as the TIES paper does. */
    PATCH("patch");

    private final String text;

    Scope(String text) {
      this.text = text;
    }

    @Override
    public String toString() {
      return text;
    }
  }

  /**
   * DARE (arXiv 2311.03099): keeps each change with probability {@code density}, divided by it, so that the expected change stays.
   *
   * @param density the probability to keep a change
   * @param seed chooses the changes, together with the tensor's name, the element's place in it and the patch's place among the patches
   * @param combination how the rest is added up; {@link Combination#ELECTED_SUM} is what is called DARE-TIES
   */
  record Dare(double density, long seed, Combination combination) implements MergeMethod {
    public Dare {
      requireDensity(density);
      Objects.requireNonNull(combination, "combination");
    }

    /** DARE with a plain sum. */
    public Dare(double density, long seed) {
      this(density, seed, Combination.SUM);
    }

    @Override
    public String toString() {
      return "dare(density " + density + ", seed " + seed + ", " + combination + ")";
    }
  }

  /**
   * DELLA (arXiv 2406.11617): DARE whose probability grows linearly with the rank of the change's magnitude in its row, from
   * {@code density − window / 2} to {@code density + window / 2}. A vector counts as one row. Each kept change is divided by its own
   * probability. Ranks of equal magnitudes follow their order in the row.
   *
   * @param density the mean probability to keep a change
   * @param window ε: the greatest probability less the least; mergekit's epsilon is half of it. At density 1 it has no effect
   * @param seed as for {@link Dare}
   * @param combination how the rest is added up; the paper's is {@link Combination#ELECTED_MEAN}
   */
  record Della(double density, double window, long seed, Combination combination) implements MergeMethod {
    /** One tenth: a difference that shows, and room for densities down to 0.06. */
    public static final double DEFAULT_WINDOW = 0.1;

    public Della {
      requireDensity(density);
      if (density < 1 && !(window >= 0 && density - window / 2 > 0 && density + window / 2 <= 1)) {
        throw new IllegalArgumentException(
            "window must keep density - window / 2 above 0 and density + window / 2 at most 1 but was "
                + window + " at density " + density);
      }
      Objects.requireNonNull(combination, "combination");
    }

    /** DELLA as published. */
    public Della(double density, double window, long seed) {
      this(density, window, seed, Combination.ELECTED_MEAN);
    }

    @Override
    public String toString() {
      return "della(density " + density + ", window " + window + ", seed " + seed + ", " + combination + ")";
    }
  }

  /**
   * Model breadcrumbs (arXiv 2312.06795): drops in each tensor the changes of greatest magnitude, and then keeps the greatest of the
   * rest. Shares are rounded down to whole elements.
   *
   * @param density the share that is kept
   * @param gamma the share of the greatest that is dropped
   * @param combination how the rest is added up
   */
  record Breadcrumbs(double density, double gamma, Combination combination) implements MergeMethod {
    /** One hundredth, as is usual. */
    public static final double DEFAULT_GAMMA = 0.01;

    public Breadcrumbs {
      requireDensity(density);
      if (!(gamma >= 0 && density + gamma <= 1)) {
        throw new IllegalArgumentException("gamma must be in [0, 1 - density] but was " + gamma + " at density " + density);
      }
      Objects.requireNonNull(combination, "combination");
    }

    /** Breadcrumbs with a plain sum. */
    public Breadcrumbs(double density, double gamma) {
      this(density, gamma, Combination.SUM);
    }

    @Override
    public String toString() {
      return "breadcrumbs(density " + density + " below " + gamma + ", " + combination + ")";
    }
  }

  /**
   * Spherical interpolation of two changes (Shoemake 1985), t = w₂ / (w₁ + w₂): direction and length turn from the first to the second.
   * Where one change is zero or both lie along one line, linear interpolation.
   *
   * @param byRow whether the angle is taken in each row and not over the tensor; a vector counts as one row
   */
  record Slerp(boolean byRow) implements MergeMethod {
    /** One angle for each tensor. */
    public Slerp() {
      this(false);
    }

    @Override
    public String toString() {
      return byRow ? "slerp(by row)" : "slerp";
    }
  }

  /**
   * SCE (arXiv 2408.07990): keeps in each tensor the elements whose changes vary most between patches, weighs each patch by the energy of
   * what is kept, and erases what goes against the sign of the sum. It finds its own weights.
   *
   * @param density the share that is kept of those elements that vary at all, rounded down
   */
  record Sce(double density) implements MergeMethod {
    public Sce {
      requireDensity(density);
    }

    @Override
    public String toString() {
      return "sce(density " + density + ")";
    }
  }

  /**
   * Model stock (arXiv 2403.19522): the mean change times N·c / (1 + (N − 1)·c), c the mean cosine between two changes of the tensor. It
   * finds its own weights. Changes that mostly cancel out have a negative ratio, which is kept at −1 or above.
   *
   * @param byRow whether the angle is taken in each row and not over the tensor; a vector counts as one row
   */
  record ModelStock(boolean byRow) implements MergeMethod {
    /** One angle for each tensor. */
    public ModelStock() {
      this(false);
    }

    @Override
    public String toString() {
      return byRow ? "model-stock(by row)" : "model-stock";
    }
  }

  private static void requireDensity(double density) {
    if (!(density > 0 && density <= 1)) {
      throw new IllegalArgumentException("density must be in (0, 1] but was " + density);
    }
  }
}
