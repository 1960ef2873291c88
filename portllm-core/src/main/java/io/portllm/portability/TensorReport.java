package io.portllm.portability;

import io.portllm.Rounding;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;

/**
 * What was measured of one tensor, or of several together. θ is the old base, θ′ the new one, U = θ′ − θ the update, Δ the patch; norms
 * are Frobenius norms. Sums are taken in float64. Where several tensors are taken together, squares and products are summed over them
 * before ratios are formed.
 *
 * @param name the tensor's name, or what the tensors are together
 * @param layer the number of its layer, the first number in its name
 * @param module its name after the layer's number and without {@code .weight}, or all of it
 * @param elements its weights in the new base
 * @param update what the update did, if anything is known of the old weights
 * @param change what the patch changes, if it changes it
 * @param meeting how the two lie to each other, if there are both
 * @param nonFinite weights of either base that are infinite or NaN; they count as zero
 */
public record TensorReport(
    String name,
    OptionalInt layer,
    String module,
    long elements,
    Optional<Update> update,
    Optional<Change> change,
    Optional<Meeting> meeting,
    long nonFinite) {
  public TensorReport {
    Objects.requireNonNull(name, "name");
    Objects.requireNonNull(module, "module");
  }

  /**
   * What the update did.
   *
   * @param oldNorm ‖θ‖
   * @param newNorm ‖θ′‖
   * @param norm ‖U‖
   * @param drift ‖U‖ / ‖θ‖
   * @param cosine the cosine of the angle between θ and θ′
   * @param spread the part of the drift that lies outside the update's eight leading directions: the drift times the square root of the
   *     energy past the eighth singular value of a 32 × 32 sketch of U. Updates of low rank have little of it. The whole drift for
   *     vectors and for matrices with fewer than 32 rows or columns
   * @param displacedRows the part of the rows, 0 to 1, whose cosine with the old row is below 0.3: rows that were replaced or moved. Known
   *     of matrices whose old weights are at hand
   * @param estimated whether all but {@code newNorm} and {@code oldNorm} come from the sketches in a patch file, and not from the old
   *     weights: drift and cosine are then within a few percent for a model and within about 20 % for a single tensor
   */
  public record Update(
      double oldNorm,
      double newNorm,
      double norm,
      double drift,
      double cosine,
      double spread,
      OptionalDouble displacedRows,
      boolean estimated) {}

  /**
   * What the patch changes.
   *
   * @param norm ‖Δ‖
   * @param relative ‖Δ‖ / ‖θ′‖
   * @param rounding what rounding to the new base's type would do
   */
  public record Change(double norm, double relative, Rounding rounding) {}

  /**
   * How patch and update lie to each other. Products with Δ are estimated with seeded sketches, within a few percent to a third of their
   * value; the rest is exact where the old weights are at hand. Else the cosine is an estimate too, within about 0.03 for a tensor.
   *
   * @param ratio ‖Δ‖ / ‖U‖; infinite if there is no update
   * @param cosine the cosine of the angle between Δ and U; 0 if there is no update
   * @param signConflicts the part of the weights changed by both that they change in opposite directions; about one half by chance.
   *     Known where the old weights are at hand
   * @param weightedSignConflicts the same, each weight counted with |Δ|
   * @param inputDrift ‖U·Δᵀ‖ / ‖θ·Δᵀ‖: how far the weights moved on the inputs that the patch reads
   * @param outputDrift ‖Δᵀ·U‖ / ‖Δᵀ·θ‖: how far they moved on the outputs that the patch writes
   * @param inputOverlap ‖U·Δᵀ‖ / ‖U‖‖Δ‖ · √columns: 1 if the update acts on the patch's inputs as on any others
   * @param outputOverlap ‖Δᵀ·U‖ / ‖U‖‖Δ‖ · √rows: the same of its outputs
   * @param inputWeight ‖θ·Δᵀ‖ / ‖θ‖‖Δ‖ · √columns: above 1 if the patch reads along the leading directions of the weights
   * @param outputWeight ‖Δᵀ·θ‖ / ‖θ‖‖Δ‖ · √rows: the same of its outputs
   */
  public record Meeting(
      double ratio,
      double cosine,
      OptionalDouble signConflicts,
      OptionalDouble weightedSignConflicts,
      OptionalDouble inputDrift,
      OptionalDouble outputDrift,
      OptionalDouble inputOverlap,
      OptionalDouble outputOverlap,
      OptionalDouble inputWeight,
      OptionalDouble outputWeight) {}
}
