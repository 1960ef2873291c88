package io.portllm;

import java.io.Serializable;

/**
 * What rounding to the output's type did to changed weights. Counts of elements.
 *
 * @param touched weights with a change other than zero
 * @param vanished touched weights whose bits the change left as they were
 * @param overflowed touched weights that were finite in the arithmetic and left the range of the output type
 * @param nonFinite weights that were finite in the new base and whose sum with the change is infinite or NaN
 */
public record Rounding(long touched, long vanished, long overflowed, long nonFinite) implements Serializable {
  private static final long serialVersionUID = 1L;

  /** No weights. */
  public static final Rounding NONE = new Rounding(0, 0, 0, 0);

  /** The sum of both counts. */
  public Rounding plus(Rounding other) {
    return new Rounding(
        touched + other.touched,
        vanished + other.vanished,
        overflowed + other.overflowed,
        nonFinite + other.nonFinite);
  }
}
