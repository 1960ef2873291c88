package io.portllm.portability;

import java.util.Objects;
import java.util.Optional;
import java.util.OptionalDouble;

/**
 * Whether the new base descends from the model that the patch was made on.
 *
 * @param kind the conclusion
 * @param compared how many tensors could be compared
 * @param identical how many of them are the same to the bit
 * @param cosine the cosine of the angle between old and new weights, all tensors together; unrelated matrices have about 0
 * @param leastCosine the least cosine of any matrix
 * @param leastTensor the matrix that has it
 * @param brokenShare the part that matrices with a cosine below {@link #BROKEN} have of the patch by its squared norm, of the weights,
 *     or of all matrices by number, whichever is most; 0 to 1
 */
public record Lineage(
    Kind kind,
    int compared,
    int identical,
    OptionalDouble cosine,
    OptionalDouble leastCosine,
    Optional<String> leastTensor,
    double brokenShare) {
  /**
   * Below this cosine a matrix counts as unrelated to the old one. Updates of the lab keep every matrix above 0.80, also that of the
   * highest learning rate; independent and permuted matrices have −0.11 to 0.12.
   */
  public static final double BROKEN = 0.5;

  /** How two bases are related. */
  public enum Kind {
    /** Every tensor is the same. */
    SAME,
    /** Every matrix resembles the old one. */
    RELATED,
    /** Some matrices resemble the old ones, and some have nothing in common with them: they were replaced or their units reordered. */
    MIXED,
    /** A quarter or more of the patch, of the weights or of the matrices has nothing in common with the old ones. */
    UNRELATED,
    /** Nothing is known of the old weights. */
    UNKNOWN
  }

  public Lineage {
    Objects.requireNonNull(kind, "kind");
  }
}
