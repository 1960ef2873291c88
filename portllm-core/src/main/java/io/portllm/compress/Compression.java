package io.portllm.compress;

import com.google.common.collect.ImmutableList;
import io.portllm.internal.codes.CodeLayout;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.stream.Collectors;

/** A way to write the change of a tensor in less space, at the price of an error. */
public sealed interface Compression {
  /** A few words for a recipe, such as {@code 4 bits}. */
  String description();

  /** Whether embeddings and heads are better kept whole: with nothing but signs and shared scales, and with directions of matrices. */
  default boolean keepsVocabulary() {
    return this instanceof Bands
        || this instanceof Bits bits && bits.bits() == 1
        || this instanceof Density density && density.values().map(Compression::keepsVocabulary).orElse(false);
  }

  /**
   * A few bits for each weight and scales that neighbours share.
   *
   * <p>Of 8 and 4 bits, {@code scale = max|Δ| / 127} (or 7) and {@code code = round(Δ / scale)}, both in float32. Of 3 and 2 bits, codes
   * are the odd numbers up to 7 and 3, {@code code = 2·⌊Δ / (2·scale)⌋ + 1} within these, and the scale is {@code Σ Δ·code / Σ code²} of
   * the codes by the scale before, {@value #ITERATIONS} times, first the best one of a normal distribution of this mean|Δ| (Max, 1960;
   * Lloyd, 1982). Of 1 bit, {@code scale = mean|Δ|}, summed in float64, and the code is the sign, negative for 0: BitDelta (arXiv
   * 2402.10193) before its scales are tuned.
   *
   * @param bits 8, 4, 3, 2 or 1
   * @param group how many neighbours within a row share a scale, a multiple of 8; {@link #ROW} or {@link #MATRIX}
   */
  record Bits(int bits, long group) implements Compression {
    /** One scale for each row. */
    public static final long ROW = Long.MAX_VALUE;

    /** One scale for the whole matrix. */
    public static final long MATRIX = 0;

    /** Neighbours that share a scale, but of 1 bit, unless said otherwise. */
    public static final long DEFAULT_GROUP = 128;

    /** How often scales of 3 and 2 bits are improved: after that, they hardly change. */
    public static final int ITERATIONS = 4;

    public Bits {
      CodeLayout.requireBits(bits);
      if (group != ROW && (group < 0 || group % 8 != 0)) {
        throw new IllegalArgumentException("group must be a multiple of 8, ROW or MATRIX but was " + group);
      }
    }

    /** 8, 4, 3 or 2 bits with a scale for each {@value #DEFAULT_GROUP} neighbours, or 1 bit with a scale for each matrix. */
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

  /**
   * The singular directions of each matrix in bands, the strongest in the most bits: Delta-CoMe (arXiv 2406.08903). Of the singular value
   * decomposition Δ ≈ (U·√S)·(√S·Vᵀ), each vector is stored as {@link Bits} says; what no band holds is left out.
   *
   * <p>Delta-CoMe chooses codes by their effect on activations, which takes data; here they are the nearest ones. Matrices are as {@link
   * io.portllm.extract.LowRankExtraction} has them; whatever is none is kept whole.
   *
   * @param bands the strongest directions first
   * @param group how many neighbours within a singular vector share a scale, a multiple of 8, or {@link Bits#ROW} for the whole vector
   */
  record Bands(List<Band> bands, long group) implements Compression {
    public Bands {
      bands = ImmutableList.copyOf(bands);
      if (bands.isEmpty()) {
        throw new IllegalArgumentException("there must be at least one band");
      }
      if (group < 8 || group != Bits.ROW && group % 8 != 0) {
        throw new IllegalArgumentException("group must be a multiple of 8 or ROW but was " + group);
      }
      bands.stream().mapToInt(Band::directions).reduce(0, Math::addExact);
    }

    /** Bands with a scale for each {@value Bits#DEFAULT_GROUP} neighbours. */
    public static Bands of(Band... bands) {
      return new Bands(List.of(bands), Bits.DEFAULT_GROUP);
    }

    /** The directions of all bands. */
    public int directions() {
      return bands.stream().mapToInt(Band::directions).sum();
    }

    @Override
    public String description() {
      String all = bands.stream().map(Band::toString).collect(Collectors.joining(", "));
      return all + (group == Bits.DEFAULT_GROUP ? "" : group == Bits.ROW ? ", a scale for each vector" : ", a scale for each " + group);
    }
  }

  /**
   * Singular directions that are stored alike.
   *
   * @param directions how many, at least 1
   * @param bits of each number of their vectors: 8, 4, 3, 2 or 1
   */
  record Band(int directions, int bits) {
    public Band {
      if (directions < 1) {
        throw new IllegalArgumentException("directions must be at least 1 but was " + directions);
      }
      CodeLayout.requireBits(bits);
    }

    /** {@code 32 directions in 3 bits}. */
    @Override
    public String toString() {
      return directions + (directions == 1 ? " direction in " : " directions in ") + bits + (bits == 1 ? " bit" : " bits");
    }
  }
}
