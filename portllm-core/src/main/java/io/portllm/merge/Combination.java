package io.portllm.merge;

/** How what is left of several changes is added up, element by element. */
public enum Combination {
  /** Σ wᵢ·δᵢ. */
  SUM("sum"),
  /** Σ wᵢ·δᵢ over those patches whose term has the sign of the whole sum (a sum of zero counts as positive). */
  ELECTED_SUM("elected sum"),
  /** {@link #ELECTED_SUM} divided by Σ |wᵢ| over the same patches: the disjoint mean of TIES. */
  ELECTED_MEAN("elected mean"),
  /**
   * Σ wᵢ·δᵢ over those patches whose δᵢ has the sign of Σ δᵢ, divided by their number: what PEFT's {@code ties} does. With equal weights of
   * 1 it is {@link #ELECTED_MEAN}.
   */
  COUNTED_MEAN("counted mean");

  private final String text;

  Combination(String text) {
    this.text = text;
  }

  @Override
  public String toString() {
    return text;
  }
}
