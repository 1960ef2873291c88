package io.portllm.io.internal.adapter.kind;

import io.portllm.Shape;
import io.portllm.Tensor;
import java.io.IOException;

/**
 * BOFT (arXiv 2311.06243): each row of the weight is multiplied by several block-diagonal rotations, first to last, each of them on columns in
 * another order, and then by a number.
 *
 * <p>Holds all rotations of a weight in float32: factors × columns × block size.
 */
final class Butterfly extends WeightChange {
  private final Tensor blocks;
  private final Tensor scales;
  private final int factors;
  private final int block;
  private final Kept kept;

  /**
   * The change by these rotations.
   *
   * @param shape the weight's shape
   * @param blocks factors × blocks × side × side, of which the skew parts Q count: their Cayley transforms rotate
   * @param scales one for each row
   */
  Butterfly(Shape shape, Tensor blocks, Tensor scales, Kept kept) {
    super(shape, blocks, scales);
    this.blocks = blocks;
    this.scales = scales;
    this.factors = Math.toIntExact(blocks.info().shape().dimension(0));
    this.block = Math.toIntExact(blocks.info().shape().dimension(2));
    this.kept = kept;
  }

  @Override
  void change(Tensor weights, long fromRow, int rows, float[] values) throws IOException {
    int columns = columns();
    float[] lessIdentity = kept.floats(this, "rotations", this::rotationsLessIdentity);
    float[] numbers = new float[rows];
    Numbers.read(scales, fromRow, rows, numbers);
    int[][] orders = new int[factors][];
    for (int factor = 0; factor < factors; factor++) {
      orders[factor] = order(factor, block, columns);
    }
    double[] row = new double[columns];
    double[] ordered = new double[columns];
    for (int r = 0; r < rows; r++) {
      int start = r * columns;
      for (int i = 0; i < columns; i++) {
        row[i] = values[start + i];
      }
      for (int factor = 0; factor < factors; factor++) {
        rotate(row, ordered, orders[factor], lessIdentity, factor * columns * block);
      }
      for (int i = 0; i < columns; i++) {
        values[start + i] = (float) (numbers[r] * row[i] - values[start + i]);
      }
    }
  }

  /** Multiplies a row by {@code P·D·Pᵀ}, with D the rotations from {@code matrix} on and P the order. */
  private void rotate(double[] row, double[] ordered, int[] order, float[] lessIdentity, int matrix) {
    for (int i = 0; i < row.length; i++) {
      ordered[order[i]] = row[i];
    }
    for (int i = 0; i < row.length; i++) {
      int at = order[i];
      int start = at - at % block;
      double sum = ordered[at];
      for (int j = 0; j < block; j++) {
        sum += lessIdentity[matrix + at * block + j] * ordered[start + j];
      }
      row[i] = sum;
    }
  }

  /**
   * Where each column goes before the rotations of {@code factor}: in a group of {@code 2^factor} blocks, the half-blocks of the first half go
   * to even places and those of the second half to odd ones.
   */
  static int[] order(int factor, int block, int columns) {
    int[] order = new int[columns];
    int group = block << factor;
    int half = block / 2;
    for (int i = 0; i < columns; i++) {
      int inGroup = i % group;
      int place = factor == 0 ? 0 : inGroup / half;
      int halves = 2 << factor;
      int chosen = place < halves / 2 ? 2 * place : 2 * (place - halves / 2) + 1;
      order[i] = factor == 0 ? i : i - inGroup + chosen * half + inGroup % half;
    }
    return order;
  }

  private float[] rotationsLessIdentity() throws IOException {
    float[] stored = Numbers.all(blocks);
    float[] rotations = new float[stored.length];
    int size = block * block;
    double[] skew = new double[size];
    for (int start = 0; start < stored.length; start += size) {
      for (int i = 0; i < block; i++) {
        for (int j = 0; j < block; j++) {
          skew[i * block + j] = 0.5 * ((double) stored[start + i * block + j] - stored[start + j * block + i]);
        }
      }
      double[] rotation = Squares.cayleyLessIdentity(skew, block);
      for (int i = 0; i < size; i++) {
        rotations[start + i] = (float) rotation[i];
      }
    }
    return rotations;
  }
}
