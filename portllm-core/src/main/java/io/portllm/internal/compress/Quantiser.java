package io.portllm.internal.compress;

import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.internal.codes.CodeLayout;
import io.portllm.internal.merge.Elements;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/**
 * Values as codes of few bits and scales, computed as they are read, a tile at a time. A tile is as many whole rows as make up about
 * {@link #TILE} values, or up to that many columns of a row if rows are longer; its codes lie side by side, and so do its scales.
 *
 * <p>Of 8 and 4 bits, the scale is the largest magnitude by the largest code, and a code is the value by the scale, rounded to nearest,
 * ties to even; both divisions in float32. Of 3 and 2 bits, codes are odd numbers and the scale is fitted to them ({@link OddScale}). Of 1
 * bit, the scale is the mean magnitude (BitDelta, arXiv 2402.10193, equation 4), summed in float64, and a code is set where the value is
 * greater than 0.
 */
final class Quantiser {
  private static final int TILE = 1 << 16;

  private final CodeLayout layout;
  private final Elements source;
  private final float scale;

  /** Rows from a first one on, or columns of one row. */
  private record Tile(long row, int rows, long column, int columns) {}

  private Quantiser(CodeLayout layout, Elements source, float scale) {
    this.layout = layout;
    this.source = source;
    this.scale = scale;
  }

  /**
   * The change of a tensor in few bits.
   *
   * @param name what the codes and scales are called begins with this
   * @param shape the tensor's shape
   * @param group columns that share a scale; 0 if all weights do
   * @param source the values of the change
   * @param statistics of all values; only read if all share a scale
   * @param inputs what {@code source} reads
   */
  static Delta.Quantised quantise(
      String name, Shape shape, int bits, long group, Elements source, Statistics statistics, List<Tensor> inputs) throws IOException {
    CodeLayout layout = CodeLayout.of(shape, bits, group);
    float scale = scale(layout, statistics.largest(), statistics.magnitudes(), statistics.count());
    if (group == 0 && OddScale.isOf(layout)) {
      scale = OddScale.fit(layout, scale, source);
    }
    Quantiser quantiser = new Quantiser(layout, source, scale);
    TensorInfo codes = new TensorInfo(name + ".codes", DType.U8, layout.codes());
    TensorInfo scales = new TensorInfo(name + ".scales", DType.F32, layout.scales());
    ComputedTensors tensors = new ComputedTensors(name, Map.of(codes, quantiser::readCodes, scales, quantiser::readScales), inputs);
    return new Delta.Quantised(tensors.get(codes), tensors.get(scales), bits, group, shape);
  }

  private static float scale(CodeLayout layout, float largest, double magnitudes, long count) {
    return layout.isOdd() ? OddScale.first(layout, magnitudes / count) : largest / layout.largest();
  }

  private void readCodes(long offset, ByteBuffer target) throws IOException {
    while (target.hasRemaining()) {
      long at = offset + target.position();
      long row = at / layout.rowBytes();
      long byteInRow = at % layout.rowBytes();
      long rows = (byteInRow + target.remaining()) / layout.rowBytes() + 1;
      Tile tile = tile(row, byteInRow / layout.bits() * 8, rows, 8L * target.remaining() / layout.bits() + 8);
      float[] values = values(tile);
      byte[] codes = codes(tile, values, scales(tile, values));
      int skip = (int) (byteInRow - tile.column() / 8 * layout.bits());
      target.put(codes, skip, Math.min(codes.length - skip, target.remaining()));
    }
  }

  private void readScales(long offset, ByteBuffer target) throws IOException {
    if (layout.group() == 0) {
      ByteBuffer bytes = ByteBuffer.allocate(4).order(target.order()).putFloat(0, scale);
      target.put(bytes.slice((int) offset, target.remaining()));
      return;
    }
    while (target.hasRemaining()) {
      long at = (offset + target.position()) / 4;
      long row = at / layout.rowScales();
      long scaleInRow = at % layout.rowScales();
      int wanted = target.remaining() / 4;
      Tile tile = tile(row, scaleInRow * layout.group(), (scaleInRow + wanted) / layout.rowScales() + 1, wanted * layout.group());
      float[] scales = scales(tile, values(tile));
      int skip = (int) (scaleInRow - tile.column() / layout.group());
      int count = Math.min(scales.length - skip, target.remaining() / 4);
      for (int i = 0; i < count; i++) {
        target.putFloat(scales[skip + i]);
      }
    }
  }

  /** A tile that begins with this weight, or a little before, and has no more rows than these, or not many more columns. */
  private Tile tile(long row, long column, long mostRows, long mostColumns) {
    long width = layout.columns();
    if (width <= TILE || layout.group() >= width) {
      return new Tile(row, (int) Math.min(Math.min(mostRows, layout.rows() - row), Math.max(1, TILE / width)), 0, Math.toIntExact(width));
    }
    // Whole groups, and whole bytes of codes.
    long unit = layout.group() == 0 ? 8 : layout.group();
    long start = column / unit * unit;
    long wanted = Math.min(TILE, column - start + mostColumns);
    return new Tile(row, 1, start, Math.toIntExact(Math.min((wanted + unit - 1) / unit * unit, width - start)));
  }

  private float[] values(Tile tile) throws IOException {
    float[] values = new float[Math.multiplyExact(tile.rows(), tile.columns())];
    source.read(tile.row() * layout.columns() + tile.column(), values.length, values);
    return values;
  }

  private float[] scales(Tile tile, float[] values) {
    if (layout.group() == 0) {
      return new float[] {scale};
    }
    int group = (int) Math.min(layout.group(), tile.columns());
    int perRow = (tile.columns() + group - 1) / group;
    float[] scales = new float[tile.rows() * perRow];
    for (int i = 0; i < scales.length; i++) {
      int from = i / perRow * tile.columns() + i % perRow * group;
      int to = Math.min(from + group, (i / perRow + 1) * tile.columns());
      float largest = 0;
      double sum = 0;
      for (int j = from; j < to; j++) {
        float magnitude = Math.abs(values[j]);
        largest = Math.max(largest, magnitude);
        sum += magnitude;
      }
      scales[i] = scale(layout, largest, sum, to - from);
      if (OddScale.isOf(layout)) {
        scales[i] = OddScale.fit(layout, scales[i], values, from, to);
      }
    }
    return scales;
  }

  private byte[] codes(Tile tile, float[] values, float[] scales) {
    int group = layout.group() == 0 ? tile.columns() : (int) Math.min(layout.group(), tile.columns());
    int perRow = (tile.columns() + group - 1) / group;
    int rowBytes = (tile.columns() * layout.bits() + 7) / 8;
    byte[] codes = new byte[tile.rows() * rowBytes];
    int[] run = new int[Math.min(group, tile.columns())];
    for (int row = 0; row < tile.rows(); row++) {
      for (int from = 0; from < tile.columns(); from += group) {
        int count = Math.min(group, tile.columns() - from);
        float by = layout.group() == 0 ? scale : scales[row * perRow + from / group];
        codes(values, row * tile.columns() + from, by, run, count);
        layout.put(codes, row * rowBytes, from, run, count);
      }
    }
    return codes;
  }

  /** The codes of {@code count} values from {@code first} on, which share a scale. */
  private void codes(float[] values, int first, float by, int[] codes, int count) {
    int largest = layout.largest();
    if (layout.bits() == 1) {
      for (int i = 0; i < count; i++) {
        codes[i] = values[first + i] > 0 ? 1 : -1;
      }
    } else if (layout.isOdd()) {
      for (int i = 0; i < count; i++) {
        codes[i] = OddScale.code(layout, values[first + i], by);
      }
    } else if (by == 0) {
      // A scale so small that it is 0 stands for changes too small for it.
      Arrays.fill(codes, 0, count, 0);
    } else {
      for (int i = 0; i < count; i++) {
        codes[i] = Math.max(-largest, Math.min(largest, (int) Math.rint(values[first + i] / by)));
      }
    }
  }
}
