package io.portllm.io.internal.adapter.kind;

import io.portllm.Delta;
import io.portllm.Shape;
import java.io.IOException;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/** FourierFT (arXiv 2405.03003): the real part of the inverse Fourier transform of a sparse spectrum, times a number. */
final class FourierFtKind implements AdapterKind {
  private static final String SPECTRUM = "fourierft_spectrum";

  @Override
  public List<String> parts() {
    return List.of(SPECTRUM);
  }

  @Override
  public Optional<String> needsBase(AdapterTensors tensors) {
    return Optional.of("is changed by FourierFT, and only the base tells its shape");
  }

  @Override
  public Map<String, Delta> deltas(AdapterTensors tensors, AdapterBase base) throws IOException {
    Map<String, Delta> deltas = new TreeMap<>();
    double scale = tensors.config().number("scaling");
    boolean transposed = tensors.config().fanInFanOut();
    Frequencies frequencies = new Frequencies(tensors.config().integer("random_loc_seed", 777));
    Map<Integer, InverseFourier> transforms = new HashMap<>();
    for (AdapterTensors.Module module : tensors.modules().values()) {
      Frequencies.Spectrum spectrum = frequencies.spectrum(module, SPECTRUM, base.shape(module.weight()), transposed);
      int columns = Math.toIntExact(spectrum.shape().columns());
      Change change = new Change(spectrum, transforms.computeIfAbsent(columns, InverseFourier::new), scale);
      deltas.put(module.weight(), new Delta.Computed(change, Optional.empty()));
    }
    return deltas;
  }

  /** Row y is the one-dimensional transform of {@code Σ s·exp(2πi·y·row / rows)} over the numbers s of each column. */
  private static final class Change extends AdditiveChange {
    private final Frequencies.Spectrum spectrum;
    private final InverseFourier transform;
    private final double scale;

    Change(Frequencies.Spectrum spectrum, InverseFourier transform, double scale) {
      super(spectrum.shape(), spectrum.values());
      this.spectrum = spectrum;
      this.transform = transform;
      this.scale = scale / spectrum.shape().elements();
    }

    @Override
    void compute(long fromRow, int rows, float[] target) throws IOException {
      Shape shape = shape();
      int columns = columns();
      float[] values = Numbers.all(spectrum.values());
      double[] real = new double[columns];
      double[] imaginary = new double[columns];
      for (int row = 0; row < rows; row++) {
        Arrays.fill(real, 0);
        Arrays.fill(imaginary, 0);
        for (int i = 0; i < values.length; i++) {
          // The remainder first: it is exact, and the angle then lies within one turn.
          double angle = 2 * Math.PI * ((fromRow + row) * spectrum.rows()[i] % shape.rows()) / shape.rows();
          real[spectrum.columns()[i]] += values[i] * Math.cos(angle);
          imaginary[spectrum.columns()[i]] += values[i] * Math.sin(angle);
        }
        double[] transformed = transform.realPart(real, imaginary);
        for (int i = 0; i < columns; i++) {
          target[row * columns + i] = (float) (transformed[i] * scale);
        }
      }
    }
  }
}
