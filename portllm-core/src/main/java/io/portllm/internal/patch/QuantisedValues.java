package io.portllm.internal.patch;

import io.portllm.Delta;
import io.portllm.internal.codes.CodeLayout;
import io.portllm.internal.text.Names;
import java.io.IOException;
import java.nio.ByteBuffer;

/** Decodes quantised changes. */
final class QuantisedValues {
  private QuantisedValues() {}

  /** The changes of {@code count} weights from weight {@code first} on. Reads no more codes and scales than these need. */
  static float[] read(Delta.Quantised delta, long first, int count) throws IOException {
    float[] values = new float[count];
    if (count == 0) {
      return values;
    }
    CodeLayout layout = CodeLayout.of(delta.shape(), delta.bits(), delta.group());
    long columns = layout.columns();
    long firstRow = first / columns;
    long firstByte = firstRow * layout.rowBytes() + first % columns * layout.bits() / 8;
    long lastRow = (first + count - 1) / columns;
    long lastByte = lastRow * layout.rowBytes() + ((first + count - 1) % columns * layout.bits() + layout.bits() - 1) / 8;
    byte[] codes = Reading.bytes(delta.codes(), firstByte, Math.toIntExact(lastByte - firstByte + 1)).array();
    long firstScale = scale(layout, firstRow, first % columns);
    ByteBuffer scales = scales(delta, firstScale, scale(layout, lastRow, (first + count - 1) % columns));
    int done = 0;
    while (done < count) {
      long row = (first + done) / columns;
      long column = (first + done) % columns;
      long end = layout.group() == 0 ? columns : Math.min(columns, (column / layout.group() + 1) * layout.group());
      int run = (int) Math.min(end - column, count - done);
      float scale = scales.getFloat((int) (4 * (scale(layout, row, column) - firstScale)));
      // Whole bytes before the run's first are left out, so that the column within the array fits an int.
      long byteAt = column / 8 * layout.bits();
      int start = Math.toIntExact(row * layout.rowBytes() + byteAt - firstByte);
      int shift = (int) (column % 8);
      for (int i = 0; i < run; i++) {
        values[done + i] = scale * layout.code(codes, start, shift + i);
      }
      done += run;
    }
    return values;
  }

  private static long scale(CodeLayout layout, long row, long column) {
    return layout.group() == 0 ? 0 : row * layout.rowScales() + column / layout.group();
  }

  private static ByteBuffer scales(Delta.Quantised delta, long first, long last) throws IOException {
    ByteBuffer scales = Reading.bytes(delta.scales(), 4 * first, Math.toIntExact(4 * (last - first + 1)));
    for (int at = 0; at < scales.limit(); at += 4) {
      float scale = scales.getFloat(at);
      if (!Float.isFinite(scale)) {
        String message = "must be finite but number " + (first + at / 4) + " is " + scale;
        throw delta.scales().version().malformed(delta.scales().info(), "PF-VALUES", message);
      }
    }
    return scales;
  }
}
