package io.portllm.io.internal.adapter.kind;

import io.portllm.Delta;
import io.portllm.Shape;
import io.portllm.internal.text.Names;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * WaveFT (arXiv 2505.12532): one step of the inverse wavelet transform of a sparse spectrum, times a number; or that spectrum itself.
 */
final class WaveFtKind implements AdapterKind {
  private static final String SPECTRUM = "waveft_spectrum";

  @Override
  public List<String> parts() {
    return List.of(SPECTRUM);
  }

  @Override
  public Optional<String> needsBase(AdapterTensors tensors) {
    return Optional.of("is changed by WaveFT, and only the base tells its shape");
  }

  @Override
  public Map<String, Delta> deltas(AdapterTensors tensors, AdapterBase base) throws IOException {
    Map<String, Delta> deltas = new TreeMap<>();
    double scale = tensors.config().number("scaling");
    boolean transposed = tensors.config().fanInFanOut();
    Frequencies frequencies = new Frequencies(tensors.config().integer("random_loc_seed", 777));
    String family = tensors.config().text("wavelet_family", "db1");
    // PEFT's default is to transform.
    boolean transform = !tensors.config().text("use_idwt", "true").equals("false");
    float[] filter = {1};
    if (transform) {
      filter =
          Wavelets.named(family)
              .orElseThrow(() -> tensors.config().malformed("AD-TYPE", "is an adapter of kind WAVEFT with the wavelet " + Names.quote(family) + ", which is not read"));
    }
    for (AdapterTensors.Module module : tensors.modules().values()) {
      Frequencies.Spectrum spectrum = frequencies.spectrum(module, SPECTRUM, base.shape(module.weight()), transposed);
      AdditiveChange change =
          transform ? new Transformed(spectrum, filter, scale) : new Direct(spectrum, scale);
      deltas.put(module.weight(), new Delta.Computed(change, Optional.empty()));
    }
    return deltas;
  }

  private static final class Direct extends AdditiveChange {
    private final Frequencies.Spectrum spectrum;
    private final float scale;

    Direct(Frequencies.Spectrum spectrum, double scale) {
      super(spectrum.shape(), spectrum.values());
      this.spectrum = spectrum;
      this.scale = (float) scale;
    }

    @Override
    void compute(long fromRow, int rows, float[] target) throws IOException {
      int columns = columns();
      float[] values = Numbers.all(spectrum.values());
      Arrays.fill(target, 0, rows * columns, 0);
      for (int i = 0; i < values.length; i++) {
        long row = spectrum.rows()[i] - fromRow;
        if (row >= 0 && row < rows) {
          target[(int) row * columns + spectrum.columns()[i]] = values[i] * scale;
        }
      }
    }
  }

  /**
   * The transform. The spectrum lies in the middle of a matrix that is larger by what the filter consumes, and even; its quarters are the
   * four bands. PEFT filters the columns of the upper right band by the low pass and its rows by the high pass, and the lower left the other way.
   */
  private static final class Transformed extends AdditiveChange {
    private final Frequencies.Spectrum spectrum;
    private final Axis rowAxis;
    private final Axis columnAxis;
    private final double scale;

    Transformed(Frequencies.Spectrum spectrum, float[] filter, double scale) {
      super(spectrum.shape(), spectrum.values());
      this.spectrum = spectrum;
      this.rowAxis = new Axis(Math.toIntExact(shape().rows()), filter);
      this.columnAxis = new Axis(Math.toIntExact(shape().columns()), filter);
      this.scale = scale;
    }

    @Override
    void compute(long fromRow, int rows, float[] target) throws IOException {
      int columns = columns();
      float[] values = Numbers.all(spectrum.values());
      double[] row = new double[columns];
      for (int r = 0; r < rows; r++) {
        Arrays.fill(row, 0);
        int y = Math.toIntExact(fromRow + r);
        for (int i = 0; i < values.length; i++) {
          // The half in which a number lies along one axis says which filter runs along the other.
          boolean lower = rowAxis.isUpperHalf(spectrum.rows()[i]);
          boolean right = columnAxis.isUpperHalf(spectrum.columns()[i]);
          double weight = rowAxis.filterAt(y - rowAxis.start(spectrum.rows()[i]), right) * values[i];
          if (weight != 0) {
            int start = columnAxis.start(spectrum.columns()[i]);
            for (int x = Math.max(0, start); x < Math.min(columns, start + columnAxis.filterLength()); x++) {
              row[x] += weight * columnAxis.filterAt(x - start, lower);
            }
          }
        }
        for (int x = 0; x < columns; x++) {
          target[r * columns + x] = (float) (row[x] * scale);
        }
      }
    }
  }

  /** One dimension of the transform. */
  private static final class Axis {
    private final float[] low;
    private final float[] high;
    private final int offset;
    private final int half;
    private final int shift;

    Axis(int length, float[] filter) {
      this.low = filter;
      this.high = new float[filter.length];
      for (int i = 0; i < filter.length; i++) {
        high[i] = i % 2 == 0 ? filter[filter.length - 1 - i] : -filter[filter.length - 1 - i];
      }
      int padded = length + filter.length - 2;
      padded += padded % 2;
      this.offset = (padded - length) / 2;
      this.half = padded / 2;
      int cut = (2 * filter.length - 3) / 2;
      int made = 2 * (half - 1) + filter.length - 2 * cut;
      this.shift = cut + (made - length) / 2;
    }

    boolean isUpperHalf(int place) {
      return place + offset >= half;
    }

    /** Where the filter of the number at {@code place} begins. */
    int start(int place) {
      return 2 * ((place + offset) % half) - shift;
    }

    int filterLength() {
      return low.length;
    }

    double filterAt(int at, boolean highPass) {
      return at < 0 || at >= low.length ? 0 : highPass ? high[at] : low[at];
    }
  }
}
