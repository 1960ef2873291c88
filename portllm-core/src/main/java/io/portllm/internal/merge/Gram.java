package io.portllm.internal.merge;

import java.io.IOException;
import java.util.List;

/** Dot products of several changes with each other, in float64. */
public final class Gram {
  /** Values summed by themselves before they are added to the total, so that rounding does not grow with the size. */
  private static final int BLOCK = 4096;

  private final double[][] products;

  private Gram(double[][] products) {
    this.products = products;
  }

  /** No values yet, of {@code changes} changes. */
  public static Gram none(int changes) {
    return new Gram(new double[changes][changes]);
  }

  /** Of whole changes, all of one size. */
  static Gram of(List<? extends Elements> changes) throws IOException {
    Gram gram = none(changes.size());
    float[][] blocks = new float[changes.size()][BLOCK];
    long size = changes.get(0).count();
    for (long first = 0; first < size; first += BLOCK) {
      int count = (int) Math.min(BLOCK, size - first);
      for (int i = 0; i < blocks.length; i++) {
        changes.get(i).read(first, count, blocks[i]);
      }
      gram.add(blocks, 0, count);
    }
    return gram;
  }

  /** Adds what {@code count} more values of each change give. */
  public void add(float[][] values, int from, int count) {
    for (int start = 0; start < count; start += BLOCK) {
      int length = Math.min(BLOCK, count - start);
      for (int i = 0; i < values.length; i++) {
        for (int j = 0; j <= i; j++) {
          products[i][j] += dot(values[i], values[j], from + start, length);
          products[j][i] = products[i][j];
        }
      }
    }
  }

  /** Adds another's products to this one's. */
  public void add(Gram other) {
    for (int i = 0; i < products.length; i++) {
      for (int j = 0; j < products.length; j++) {
        products[i][j] += other.products[i][j];
      }
    }
  }

  /** Four sums at a time, which do not wait for each other; always the same four. */
  private static double dot(float[] a, float[] b, int from, int count) {
    double s0 = 0;
    double s1 = 0;
    double s2 = 0;
    double s3 = 0;
    int i = from;
    int end = from + count;
    for (; i + 4 <= end; i += 4) {
      s0 += (double) a[i] * b[i];
      s1 += (double) a[i + 1] * b[i + 1];
      s2 += (double) a[i + 2] * b[i + 2];
      s3 += (double) a[i + 3] * b[i + 3];
    }
    for (; i < end; i++) {
      s0 += (double) a[i] * b[i];
    }
    return (s0 + s1) + (s2 + s3);
  }

  /** How many changes. */
  int size() {
    return products.length;
  }

  /** The dot product of two changes. */
  public double product(int i, int j) {
    return products[i][j];
  }

  /** The cosine of the angle between two changes; 0 if one of them is zero. */
  public double cosine(int i, int j) {
    double norms = Math.sqrt(products[i][i]) * Math.sqrt(products[j][j]);
    return norms == 0 ? 0 : Math.max(-1, Math.min(1, products[i][j] / norms));
  }

  /** The mean cosine over all pairs. */
  double meanCosine() {
    double sum = 0;
    for (int i = 0; i < products.length; i++) {
      for (int j = 0; j < i; j++) {
        sum += cosine(i, j);
      }
    }
    return sum / (products.length * (products.length - 1) / 2);
  }
}
