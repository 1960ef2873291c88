package io.portllm.portability;

import com.google.common.primitives.ImmutableDoubleArray;

/**
 * A small picture of one tensor of a base, from which drift, angles and overlaps can be estimated once the base is gone. All parts are
 * linear: the sketch of a difference is the difference of the sketches. {@code docs/reference/patch-file.md} has the formulas and seeds.
 *
 * @param norm the Frobenius norm of the weights
 * @param weights {@link #WEIGHTS} values S·θ·T
 * @param signature {@link #WIDTH} values that tell which patch the next two belong to, or none
 * @param input {@link #PRODUCTS} values S·θ·(P·Δ)ᵀ, or none
 * @param output {@link #PRODUCTS} values (Δ·Q)ᵀ·θ·T, or none
 */
public record TensorSketch(
    double norm,
    ImmutableDoubleArray weights,
    ImmutableDoubleArray signature,
    ImmutableDoubleArray input,
    ImmutableDoubleArray output) {
  /** Rows and columns of the sketch of the weights. */
  public static final int SIDE = 32;

  /** Rows or columns to which the patch is reduced. */
  public static final int WIDTH = 16;

  /** Values in the sketch of the weights. */
  public static final int WEIGHTS = SIDE * SIDE;

  /** Values in the sketch of a product of weights and patch. */
  public static final int PRODUCTS = SIDE * WIDTH;

  public TensorSketch {
    requireLength("weights", weights, WEIGHTS);
    int products = signature.isEmpty() ? 0 : PRODUCTS;
    if (!signature.isEmpty()) {
      requireLength("signature", signature, WIDTH);
    }
    requireLength("input", input, products);
    requireLength("output", output, products);
  }

  /** Whether the products with the patch are there. */
  public boolean hasProducts() {
    return !signature.isEmpty();
  }

  private static void requireLength(String part, ImmutableDoubleArray values, int length) {
    if (values.length() != length) {
      throw new IllegalArgumentException(part + " must be " + length + " values but are " + values.length());
    }
  }
}
