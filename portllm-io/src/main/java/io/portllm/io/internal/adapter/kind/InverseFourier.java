package io.portllm.io.internal.adapter.kind;

/**
 * The inverse discrete Fourier transform of one length, not divided by the length, in float64. Powers of two by halving; other lengths by
 * Bluestein's convolution, which takes powers of two. Immutable, safe for use by many threads.
 */
final class InverseFourier {
  private final int length;
  private final int size;
  /** {@code exp(2πi·k / size)} for the lower half of k. */
  private final double[] cosines;
  private final double[] sines;
  /** {@code exp(πi·k² / length)}, for lengths that are no power of two. */
  private final double[] chirpCosines;
  private final double[] chirpSines;
  /** The transform of the conjugate of that, continued to negative k, divided by the size. */
  private final double[] filterReal;
  private final double[] filterImaginary;

  InverseFourier(int length) {
    this.length = length;
    boolean power = Integer.bitCount(length) == 1;
    this.size = power ? length : Integer.highestOneBit(Math.multiplyExact(2, length) - 1) << 1;
    this.cosines = new double[size / 2];
    this.sines = new double[size / 2];
    for (int k = 0; k < size / 2; k++) {
      cosines[k] = Math.cos(2 * Math.PI * k / size);
      sines[k] = Math.sin(2 * Math.PI * k / size);
    }
    int chirp = power ? 0 : length;
    this.chirpCosines = new double[chirp];
    this.chirpSines = new double[chirp];
    this.filterReal = new double[power ? 0 : size];
    this.filterImaginary = new double[power ? 0 : size];
    for (int k = 0; k < chirp; k++) {
      double angle = Math.PI * ((long) k * k % (2L * length)) / length;
      chirpCosines[k] = Math.cos(angle);
      chirpSines[k] = Math.sin(angle);
      filterReal[k] = chirpCosines[k] / size;
      filterImaginary[k] = -chirpSines[k] / size;
      if (k > 0) {
        filterReal[size - k] = filterReal[k];
        filterImaginary[size - k] = filterImaginary[k];
      }
    }
    if (!power) {
      transform(filterReal, filterImaginary);
    }
  }

  /** The real part of {@code Σ (real + i·imaginary)·exp(2πi·j·k / length)} for each j. */
  double[] realPart(double[] real, double[] imaginary) {
    double[] x = new double[size];
    double[] y = new double[size];
    if (size == length) {
      System.arraycopy(real, 0, x, 0, length);
      System.arraycopy(imaginary, 0, y, 0, length);
      transform(x, y);
      return x;
    }
    for (int k = 0; k < length; k++) {
      x[k] = real[k] * chirpCosines[k] - imaginary[k] * chirpSines[k];
      y[k] = real[k] * chirpSines[k] + imaginary[k] * chirpCosines[k];
    }
    transform(x, y);
    for (int k = 0; k < size; k++) {
      double product = x[k] * filterReal[k] - y[k] * filterImaginary[k];
      // With real and imaginary parts exchanged the same transform runs backwards.
      x[k] = x[k] * filterImaginary[k] + y[k] * filterReal[k];
      y[k] = product;
    }
    transform(x, y);
    double[] result = new double[length];
    for (int k = 0; k < length; k++) {
      result[k] = y[k] * chirpCosines[k] - x[k] * chirpSines[k];
    }
    return result;
  }

  /** Transforms in place; the size is a power of two. */
  private void transform(double[] x, double[] y) {
    for (int i = 1; i < size; i++) {
      int j = Integer.reverse(i) >>> (Integer.numberOfLeadingZeros(size) + 1);
      if (i < j) {
        swap(x, i, j);
        swap(y, i, j);
      }
    }
    for (int half = 1; half < size; half *= 2) {
      int step = size / 2 / half;
      for (int start = 0; start < size; start += 2 * half) {
        for (int k = 0; k < half; k++) {
          int a = start + k;
          int b = a + half;
          double cosine = cosines[k * step];
          double sine = sines[k * step];
          double real = x[b] * cosine - y[b] * sine;
          double imaginary = x[b] * sine + y[b] * cosine;
          x[b] = x[a] - real;
          y[b] = y[a] - imaginary;
          x[a] += real;
          y[a] += imaginary;
        }
      }
    }
  }

  private static void swap(double[] values, int i, int j) {
    double value = values[i];
    values[i] = values[j];
    values[j] = value;
  }
}
