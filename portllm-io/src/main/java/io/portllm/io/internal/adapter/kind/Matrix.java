package io.portllm.io.internal.adapter.kind;

import io.portllm.Shape;
import io.portllm.Tensor;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;

/** A matrix that is stored whole or as factors, read by rows. Products add up in float32, from the first to the last. */
abstract class Matrix {
  private final long rows;
  private final int columns;
  private final List<Tensor> inputs;

  private Matrix(long rows, long columns, Tensor... inputs) {
    this.rows = rows;
    this.columns = Math.toIntExact(columns);
    this.inputs = List.of(inputs);
  }

  final long rows() {
    return rows;
  }

  final int columns() {
    return columns;
  }

  final List<Tensor> inputs() {
    return inputs;
  }

  /** Reads a row into the start of {@code target}. */
  abstract void read(long row, float[] target) throws IOException;

  /** A tensor, seen as a matrix. */
  static Matrix stored(Tensor tensor) {
    Shape shape = tensor.info().shape();
    return new Matrix(shape.rows(), shape.columns(), tensor) {
      @Override
      void read(long row, float[] target) throws IOException {
        Numbers.read(tensor, row * columns(), columns(), target);
      }
    };
  }

  /** The product of {@code a}, rows × rank, and {@code b}, rank × columns. */
  static Matrix product(Tensor a, Tensor b, Kept kept) {
    int rank = Math.toIntExact(b.info().shape().rows());
    return new Matrix(a.info().shape().rows(), b.info().shape().columns(), a, b) {
      @Override
      void read(long row, float[] target) throws IOException {
        float[] left = new float[rank];
        Numbers.read(a, row * rank, rank, left);
        float[] right = kept.floats(b, "all", () -> Numbers.all(b));
        Arrays.fill(target, 0, columns(), 0);
        for (int k = 0; k < rank; k++) {
          for (int i = 0, at = k * columns(); i < columns(); i++, at++) {
            target[i] += left[k] * right[at];
          }
        }
      }
    };
  }

  /**
   * A convolution's kernel in the CP form: {@code Σ t[i, j, kernel] · a[i, row] · b[j, input]}.
   *
   * @param t rank × rank × kernel's height × kernel's width
   * @param a rank × rows
   * @param b rank × inputs
   */
  static Matrix convolution(Tensor t, Tensor a, Tensor b, Kept kept) {
    int rank = Math.toIntExact(t.info().shape().rows());
    int kernel = Math.toIntExact(t.info().shape().columns() / rank);
    int inputs = Math.toIntExact(b.info().shape().columns());
    long outputs = a.info().shape().columns();
    return new Matrix(outputs, (long) inputs * kernel, t, a, b) {
      @Override
      void read(long row, float[] target) throws IOException {
        float[] core = kept.floats(t, "all", () -> Numbers.all(t));
        float[] right = kept.floats(b, "all", () -> Numbers.all(b));
        float[] mixed = new float[rank * kernel];
        float[] weight = new float[1];
        for (int i = 0; i < rank; i++) {
          Numbers.read(a, i * outputs + row, 1, weight);
          for (int at = 0; at < mixed.length; at++) {
            mixed[at] += weight[0] * core[i * mixed.length + at];
          }
        }
        Arrays.fill(target, 0, columns(), 0);
        for (int j = 0; j < rank; j++) {
          for (int input = 0; input < inputs; input++) {
            for (int k = 0; k < kernel; k++) {
              target[input * kernel + k] += right[j * inputs + input] * mixed[j * kernel + k];
            }
          }
        }
      }
    };
  }
}
