package io.portllm.compress;

import java.util.Objects;
import java.util.Optional;

/** A way to write the change of a tensor in less space, at the price of an error. */
public sealed interface Compression {
  /** A few words for a recipe, such as {@code 4 bits}. */
  String description();

  /** Whether a change is left with nothing but its sign and shared scales. */
  default boolean isOneBit() {
    return this instanceof Bits bits && bits.bits() == 1
        || this instanceof Density density && density.values().map(Compression::isOneBit).orElse(false);
  }

  /**
   * A few bits for each weight and scales that neighbours share.
   *
   * <p>Of 8 and 4 bits, {@code scale = max|Δ| / 127} (or 7) and {@code code = round(Δ / scale)}, both in float32. Of 1 bit,
   * {@code scale = mean|Δ|}, summed in float64, and the code is the sign, negative for 0: BitDelta (arXiv 2402.10193) before its
   * scales are tuned.
   *
   * @param bits 8, 4 or 1
   * @param group how many neighbours within a row share a scale, a multiple of 8; {@link #ROW} or {@link #MATRIX}
   */
  record Bits(int bits, long group) implements Compression {
    /** One scale for each row. */
    public static final long ROW = Long.MAX_VALUE;

    /** One scale for the whole matrix. */
    public static final long MATRIX = 0;

    /** Neighbours that share a scale of 8 or 4 bits unless said otherwise. */
    public static final long DEFAULT_GROUP = 128;

    public Bits {
      if (bits != 8 && bits != 4 && bits != 1) {
        throw new IllegalArgumentException("bits must be 8, 4 or 1 but was " + bits);
      }
      if (group != ROW && (group < 0 || group % 8 != 0)) {
        throw new IllegalArgumentException("group must be a multiple of 8, ROW or MATRIX but was " + group);
      }
    }

    /** 8 or 4 bits with a scale for each {@value #DEFAULT_GROUP} neighbours, or 1 bit with a scale for each matrix. */
    public static Bits of(int bits) {
      return new Bits(bits, bits == 1 ? MATRIX : DEFAULT_GROUP);
    }

    @Override
    public String description() {
      String shared = group == ROW ? " with a scale for each row" : group == MATRIX ? " with one scale" : " with a scale for each " + group;
      return bits + (bits == 1 ? " bit" : " bits") + (equals(of(bits)) ? "" : shared);
    }
  }

  /**
   * The changes of largest magnitude of each tensor; the others become zero. Of equal ones the first are kept.
   *
   * @param density the share that is kept, over 0 and at most 1: the nearest whole number of changes, but at least 1
   * @param rescale whether what is kept is multiplied so that the sum of magnitudes stays that of all changes
   * @param values how the changes kept are written; without it exactly, in the least of BF16, F16 and F32 that holds them. Groups
   *     count changes kept, in the order of their weights; {@link Bits#ROW} is as {@link Bits#MATRIX}
   */
  record Density(double density, boolean rescale, Optional<Bits> values) implements Compression {
    public Density {
      if (!(density > 0 && density <= 1)) {
        throw new IllegalArgumentException("density must be over 0 and at most 1 but was " + density);
      }
      Objects.requireNonNull(values, "values");
    }

    /** The largest share of changes, exactly. */
    public static Density of(double density) {
      return new Density(density, false, Optional.empty());
    }

    @Override
    public String description() {
      return "density " + density + (rescale ? " rescaled" : "") + values.map(bits -> " in " + bits.description()).orElse("");
    }
  }
}
