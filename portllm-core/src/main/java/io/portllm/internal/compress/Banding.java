package io.portllm.internal.compress;

import io.portllm.Delta;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.compress.Compression;
import io.portllm.extract.RankRule;
import io.portllm.internal.extract.Approximation;
import io.portllm.internal.extract.Matrix;
import io.portllm.internal.extract.StackedProduct;
import io.portllm.internal.merge.Elements;
import io.portllm.internal.patch.OneTensor;
import io.portllm.internal.patch.QuantisedFactor;
import io.portllm.internal.patch.RowEvaluator;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.BooleanSupplier;

/** Puts the singular directions of a matrix in place of it, in bands of few bits. Codes and scales are held in memory. */
final class Banding {
  private final String name;
  private final Compression.Bands bands;
  private final Shape shape;
  private final Approximation found;

  private Banding(String name, Compression.Bands bands, Shape shape, Approximation found) {
    this.name = name;
    this.bands = bands;
    this.shape = shape;
    this.found = found;
  }

  /**
   * The change as a sum of products, one for each band.
   *
   * @param delta a matrix that is not zero, of finite values
   */
  static Delta of(String name, Delta delta, Compression.Bands bands, BooleanSupplier cancelled) throws IOException {
    RankRule rule = RankRule.rank(bands.directions());
    Optional<StackedProduct> product = StackedProduct.of(delta);
    Approximation found =
        product.isPresent() ? product.get().approximate(rule) : Approximation.of(new Matrix(new RowEvaluator(delta), cancelled), rule);
    return new Banding(name, bands, delta.shape(), found).sum();
  }

  private Delta sum() throws IOException {
    List<Delta.Term> terms = new ArrayList<>();
    int from = 0;
    for (Compression.Band band : bands.bands()) {
      int to = Math.min(found.rank(), from + band.directions());
      if (to > from) {
        terms.add(new Delta.Term(1, product(from, to, band.bits())));
      }
      from = to;
    }
    return terms.size() == 1 ? terms.get(0).delta() : new Delta.Sum(terms);
  }

  private Delta.LowRank product(int from, int to, int bits) throws IOException {
    int rows = Math.toIntExact(shape.rows());
    int columns = Math.toIntExact(shape.columns());
    int rank = to - from;
    float[] left = new float[Math.multiplyExact(rank, rows)];
    for (int k = 0; k < rank; k++) {
      for (int i = 0; i < rows; i++) {
        left[k * rows + i] = found.b()[i * found.rank() + from + k];
      }
    }
    float[] right = Arrays.copyOfRange(found.a(), from * columns, to * columns);
    // One number for both sides: a group that is longer than a vector is the vector.
    long group = Math.min(bands.group(), Math.max(rows, columns) + 7L & ~7L);
    return new Delta.LowRank(
        QuantisedFactor.left(name + ".lora_B", quantise(left, Shape.of(rank, rows), bits, group)),
        QuantisedFactor.right(name + ".lora_A", quantise(right, Shape.of(rank, columns), bits, group)),
        1,
        false,
        shape);
  }

  private Delta.Quantised quantise(float[] values, Shape factor, int bits, long group) throws IOException {
    Elements source =
        new Elements() {
          @Override
          public long count() {
            return values.length;
          }

          @Override
          public void read(long first, int count, float[] target) {
            System.arraycopy(values, Math.toIntExact(first), target, 0, count);
          }
        };
    Statistics none = new Statistics(values.length, 0, 0, 0, 0);
    Delta.Quantised computed = Quantiser.quantise(name, factor, bits, group, source, none, List.of());
    return new Delta.Quantised(held(computed.codes()), held(computed.scales()), bits, group, factor);
  }

  /** The bytes of a tensor that is computed as it is read, once and for all. */
  private static Tensor held(Tensor computed) throws IOException {
    byte[] bytes = new byte[Math.toIntExact(computed.info().bytes())];
    computed.read(0, ByteBuffer.wrap(bytes));
    return OneTensor.of(computed.info(), bytes);
  }
}
