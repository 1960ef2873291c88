package io.portllm.portability;

/** How far a verdict without data is to be trusted; {@code docs/concepts/portability.md} has how often each was right on the lab. */
public enum Confidence {
  /** The figures are on this side for patches that work and for patches that do not, or figures are missing: test on data. */
  LOW,
  /** The figures are in the range in which published ports work, but data were not looked at. */
  MEDIUM,
  /** The verdict follows from facts: the bases are the same, or the patch cannot be applied, or nothing relates the bases. */
  HIGH
}
