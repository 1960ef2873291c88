package io.portllm.extract;

import java.util.OptionalDouble;

/**
 * How many singular values of a change are kept. Immutable.
 */
public final class RankRule {
  /**
   * Energies are told apart to this: one that is nearer to 1 counts as 1 minus this. A relative error of 10⁻⁶ remains, near what float32
   * factors can hold.
   */
  public static final double ENERGY_PRECISION = 1e-12;

  /**
   * The most singular values that a rule of energy keeps unless another number is named: 256. A change that needs more is better kept whole;
   * and the decomposition takes time that grows with the cube of this.
   */
  public static final int DEFAULT_MOST = 256;

  private final OptionalDouble energy;
  private final int most;

  private RankRule(OptionalDouble energy, int most) {
    if (most < 1) {
      throw new IllegalArgumentException("rank must be at least 1 but was " + most);
    }
    this.energy = energy;
    this.most = most;
  }

  /**
   * The largest {@code rank} singular values; fewer where the others are zero to float32's precision, or the matrix has fewer. Factors take
   * the change's place even where they hold more numbers.
   *
   * @param rank at least 1
   */
  public static RankRule rank(int rank) {
    return new RankRule(OptionalDouble.empty(), rank);
  }

  /**
   * As few singular values as hold this part of the sum of all their squares (the squared Frobenius norm), but no more than
   * {@link #DEFAULT_MOST}. A change whose factors would hold no fewer numbers than it has is kept whole.
   *
   * @param energy in (0, 1]; a relative error of √(1 − energy) remains at most
   */
  public static RankRule energy(double energy) {
    if (!(energy > 0 && energy <= 1)) {
      throw new IllegalArgumentException("energy must be in (0, 1] but was " + energy);
    }
    return new RankRule(OptionalDouble.of(energy), DEFAULT_MOST);
  }

  /**
   * This rule with another limit. Where the limit is reached before the energy, the factors have this rank and the report states the error.
   *
   * @param rank at least 1
   */
  public RankRule upTo(int rank) {
    return new RankRule(energy, rank);
  }

  /** The energy to keep, if that is the rule. */
  public OptionalDouble energy() {
    return energy;
  }

  /** The largest rank. */
  public int most() {
    return most;
  }

  /** {@code rank 8} or {@code energy 0.9 up to rank 256}. */
  @Override
  public String toString() {
    return energy.isPresent() ? "energy " + energy.getAsDouble() + " up to rank " + most : "rank " + most;
  }
}
