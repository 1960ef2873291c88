package io.portllm;

import com.google.common.collect.ImmutableList;
import com.google.common.primitives.ImmutableLongArray;
import io.portllm.internal.codes.CodeLayout;
import io.portllm.internal.codes.PositionLayout;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;

/**
 * The change of one tensor. Immutable; holds tensors to read from, not values.
 *
 * <p>{@link Dense}, {@link Difference}, {@link LowRank}, {@link Rows}, {@link Quantised}, {@link Sparse}, {@link Computed} and
 * {@link Sum} are added to the new base's weights and can be scaled. {@link Replacement} and {@link RowReplacement} say what the weights
 * become, whatever the base. {@link Exact} changes one base's bits, and refuses every other.
 */
public sealed interface Delta {
  /** The shape of the tensor that it changes. */
  Shape shape();

  /** Whether it is added to the weights, and so can be scaled and summed. */
  default boolean isAdditive() {
    return true;
  }

  /**
   * Changes stored as they are.
   *
   * @param values one change for each weight, of an arithmetic type
   */
  record Dense(Tensor values) implements Delta {
    public Dense {
      requireArithmetic(values);
    }

    @Override
    public Shape shape() {
      return values.info().shape();
    }
  }

  /**
   * {@code tuned − base}, taken when it is needed.
   *
   * @param tuned the tensor of the fine-tuned model
   * @param base the tensor of its base; the shapes agree but for the number of rows, of which the lesser counts
   */
  record Difference(Tensor tuned, Tensor base) implements Delta {
    public Difference {
      requireArithmetic(tuned);
      requireArithmetic(base);
      Shape mine = tuned.info().shape();
      Shape other = base.info().shape();
      if (!mine.equals(other) && (mine.rank() == 0 || other.rank() == 0 || !mine.withRows(0).equals(other.withRows(0)))) {
        throw new IllegalArgumentException("shapes must agree but for the rows, but were " + mine + " and " + other);
      }
    }

    @Override
    public Shape shape() {
      Shape mine = tuned.info().shape();
      Shape other = base.info().shape();
      return mine.rows() <= other.rows() ? mine : other;
    }
  }

  /**
   * {@code scale · B·A}, or its transpose: LoRA (arXiv 2106.09685, equation 3).
   *
   * @param b out × rank, further dimensions of size 1
   * @param a rank × in, further dimensions counted into {@code in}
   * @param scale alpha / rank, or alpha / √rank for rsLoRA (arXiv 2312.03732); any finite number
   * @param transposed whether the weight is stored in × out
   * @param shape the shape of the weight
   */
  record LowRank(Tensor b, Tensor a, double scale, boolean transposed, Shape shape) implements Delta {
    public LowRank {
      requireArithmetic(b);
      requireArithmetic(a);
      Objects.requireNonNull(shape, "shape");
      if (!Double.isFinite(scale)) {
        throw new IllegalArgumentException("scale must be finite but was " + scale);
      }
      long out = b.info().shape().rows();
      long in = a.info().shape().columns();
      if (b.info().shape().columns() != a.info().shape().rows()) {
        throw new IllegalArgumentException(
            "B must have as many columns as A has rows, but they are " + b.info().shape() + " and " + a.info().shape());
      }
      if (shape.rows() != (transposed ? in : out) || shape.columns() != (transposed ? out : in)) {
        throw new IllegalArgumentException(
            "factors of " + out + " x " + in + (transposed ? ", transposed," : "") + " do not make " + shape);
      }
    }

    /** The inner dimension. */
    public int rank() {
      return Math.toIntExact(a.info().shape().rows());
    }
  }

  /**
   * Changes of some rows; the rest stay.
   *
   * @param indices the rows, in any order, each once
   * @param values a row of changes for each index, or of new weights if {@code base} is given
   * @param base the tensor whose rows are subtracted from {@code values}; has all of them
   * @param shape the shape of the weight, or of its part up to the last index
   */
  record Rows(ImmutableLongArray indices, Tensor values, Optional<Tensor> base, Shape shape) implements Delta {
    public Rows {
      requireArithmetic(values);
      base.ifPresent(Delta::requireArithmetic);
      requireRows(indices, values, shape);
      long last = indices.stream().max().orElse(-1);
      base.map(tensor -> tensor.info().shape()).filter(rows -> rows.columns() != shape.columns() || rows.rows() <= last).ifPresent(rows -> {
        throw new IllegalArgumentException(
            "the base of rows up to number " + last + " of " + shape.columns() + " columns must have them but is " + rows);
      });
    }
  }

  /**
   * Changes of a few bits each: {@code scale · code} in float32.
   *
   * <p>The tensor is seen as a matrix of {@link Shape#rows} × {@link Shape#columns}; one of fewer than two dimensions as a single row. The
   * codes of a row fill bytes from the lowest bits up, and each row begins a new byte. Codes of 8 and 4 bits are two's complement; a
   * code u of 3, 2 or 1 bits stands for the odd number 2u + 1 − 2ᵇⁱᵗˢ, so that 1 bit is 1 if it is set, and else −1.
   *
   * @param codes U8, a row of ⌈columns · bits / 8⌉ bytes for each row
   * @param scales F32, a row of ⌈columns / group⌉ for each row, or 1 × 1 if {@code group} is 0
   * @param bits 8, 4, 3, 2 or 1
   * @param group how many neighbours within a row share a scale, a multiple of 8 or at least a whole row; 0 if all weights share one
   * @param shape the shape of the weight
   */
  record Quantised(Tensor codes, Tensor scales, int bits, long group, Shape shape) implements Delta {
    public Quantised {
      CodeLayout.of(shape, bits, group).requireFits(codes.info(), scales.info());
    }
  }

  /**
   * Changes of some weights; the rest stay.
   *
   * <p>Weights are counted in C order and cut into blocks of {@value #BLOCK}. {@link Coding} says how the positions of a block's
   * changes are written.
   *
   * @param positions U8, the positions of the changes, block after block
   * @param offsets I64, (blocks + 1) × 2: the first value and the first byte of positions of each block, and then the number of both
   * @param coding how positions are written
   * @param values {@link Dense} or {@link Quantised}, of one dimension: the changes in the order of their positions. As float32: F64 is
   *     rounded
   * @param shape the shape of the weight
   */
  record Sparse(Tensor positions, Tensor offsets, Coding coding, Delta values, Shape shape) implements Delta {
    /** Weights in a block; the last block may be shorter. */
    public static final int BLOCK = 1 << 15;

    /** How the positions of a block's changes are written. */
    public enum Coding {
      /**
       * A byte for each change: how many unchanged weights lie between it and the change before, or the start of the block. 255 stands
       * for 255 unchanged weights and no change.
       */
      GAPS,
      /** A bit for each weight, set if it changes, from the lowest bit of the first byte up. */
      BITMAP
    }

    public Sparse {
      Objects.requireNonNull(coding, "coding");
      PositionLayout.requireFits(positions.info(), offsets.info(), coding, values, shape);
    }
  }

  /**
   * Changes that are computed when they are needed.
   *
   * @param change computes them
   * @param frozenOn the weights to compute them on, where they depend on weights; without it, the weights of the new base
   */
  record Computed(RowChange change, Optional<Tensor> frozenOn) implements Delta {
    public Computed {
      Objects.requireNonNull(change, "change");
      frozenOn.ifPresent(Delta::requireArithmetic);
    }

    @Override
    public Shape shape() {
      return change.shape();
    }
  }

  /**
   * New weights in place of the old.
   *
   * @param values the weights, of any type if the new base's tensor has the same
   */
  record Replacement(Tensor values) implements Delta {
    @Override
    public Shape shape() {
      return values.info().shape();
    }

    @Override
    public boolean isAdditive() {
      return false;
    }
  }

  /**
   * New weights in place of some rows.
   *
   * @param indices the rows, in any order, each once
   * @param values a row of weights for each index
   * @param shape the shape of the weight, or of its part up to the last index
   */
  record RowReplacement(ImmutableLongArray indices, Tensor values, Shape shape) implements Delta {
    public RowReplacement {
      requireArithmetic(values);
      requireRows(indices, values, shape);
    }

    @Override
    public boolean isAdditive() {
      return false;
    }
  }

  /**
   * A change of bit patterns, for the tensor that it was made on alone. A patch has such changes in all its tensors or in none.
   *
   * @param change gives the bits
   */
  record Exact(BitChange change) implements Delta {
    public Exact {
      Objects.requireNonNull(change, "change");
    }

    /** The shape of the tensor that it makes, or of the one that it removes. */
    @Override
    public Shape shape() {
      return change.after().or(change::before).orElseThrow().shape();
    }

    @Override
    public boolean isAdditive() {
      return false;
    }
  }

  /**
   * A demand that two tensors of a type that cannot be added hold the same bytes; changes nothing. Checked when the patch is
   * applied or saved.
   *
   * @param tuned the tensor of the fine-tuned model
   * @param base the tensor of its base, of the same type
   */
  record Unchanged(Tensor tuned, Tensor base) implements Delta {
    public Unchanged {
      if (tuned.info().dtype() != base.info().dtype() || base.info().dtype().isArithmetic()) {
        throw new IllegalArgumentException(
            "types must be one that cannot be added but were " + tuned.info().dtype() + " and " + base.info().dtype());
      }
    }

    @Override
    public Shape shape() {
      return base.info().shape();
    }

    @Override
    public boolean isAdditive() {
      return false;
    }
  }

  /**
   * Several additive changes, each with a factor, summed in this order.
   *
   * @param terms at least one, none of them a sum, all with the same number of columns
   */
  record Sum(List<Term> terms) implements Delta {
    public Sum {
      terms = ImmutableList.copyOf(terms);
      if (terms.isEmpty()) {
        throw new IllegalArgumentException("a sum must have at least one term");
      }
      Shape first = terms.get(0).delta().shape();
      for (Term term : terms) {
        if (term.delta().shape().columns() != first.columns()) {
          throw new IllegalArgumentException("terms must change one tensor but change " + first + " and " + term.delta().shape());
        }
      }
    }

    /** The shape of the term with the most rows. */
    @Override
    public Shape shape() {
      return terms.stream().map(term -> term.delta().shape()).reduce((a, b) -> a.rows() >= b.rows() ? a : b).orElseThrow();
    }
  }

  /**
   * A change and what it is multiplied by.
   *
   * @param factor any finite number
   * @param delta additive, and not a sum
   */
  record Term(double factor, Delta delta) {
    public Term {
      if (!delta.isAdditive() || delta instanceof Sum) {
        throw new IllegalArgumentException("a term must be additive and no sum but was " + delta);
      }
      if (!Double.isFinite(factor)) {
        throw new IllegalArgumentException("factor must be finite but was " + factor);
      }
    }
  }

  private static void requireArithmetic(Tensor tensor) {
    if (!tensor.info().dtype().isArithmetic()) {
      throw new IllegalArgumentException("type must be a floating one but was " + tensor.info().dtype());
    }
  }

  private static void requireRows(ImmutableLongArray indices, Tensor values, Shape shape) {
    if (values.info().shape().rows() != indices.length() || values.info().shape().columns() != shape.columns()) {
      throw new IllegalArgumentException(
          indices.length() + " rows of " + shape + " do not have the shape " + values.info().shape());
    }
    Set<Long> seen = new HashSet<>();
    for (int i = 0; i < indices.length(); i++) {
      long index = indices.get(i);
      if (index < 0 || index >= shape.rows()) {
        throw new IllegalArgumentException("row indices must lie within 0 to " + (shape.rows() - 1) + " but number " + i + " is " + index);
      }
      if (!seen.add(index)) {
        throw new IllegalArgumentException("row indices must occur once but " + index + " occurs again as number " + i);
      }
    }
  }
}
