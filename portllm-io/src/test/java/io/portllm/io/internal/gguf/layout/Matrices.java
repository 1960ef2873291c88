package io.portllm.io.internal.gguf.layout;

import io.portllm.Shape;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;

/** Applies layouts to whole tensors in memory, one element at a time. */
final class Matrices {
  private Matrices() {}

  /** The GGUF tensors of a checkpoint. Elements that no link gives are NaN. */
  static Map<String, float[]> convert(Layout layout, Map<String, Shape> tensors, Map<String, float[]> checkpoint) {
    Map<String, float[]> made = new LinkedHashMap<>();
    tensors.forEach((name, shape) -> {
      if (!layout.generated().contains(name)) {
        float[] values = new float[Math.toIntExact(shape.elements())];
        Arrays.fill(values, Float.NaN);
        made.put(name, values);
      }
    });
    for (Link link : layout.links()) {
      float[] target = made.get(link.gguf());
      float[] source = checkpoint.get(link.source());
      int width = width(tensors.get(link.gguf()));
      for (int row = 0; row < link.rows(); row++) {
        for (int column = 0; column < width; column++) {
          int from = link.transposed()
              ? column * width(layout.sources().get(link.source())) + row
              : (int) (link.sourceRow() + link.order().sourceOf(row)) * width + column;
          target[(int) (link.ggufRow() + row) * width + column] = source[from] + link.shift();
        }
      }
    }
    return made;
  }

  /** The Hugging Face tensors of a GGUF file. */
  static Map<String, float[]> convertBack(Layout layout, Map<String, float[]> tensors) {
    Map<String, float[]> made = new LinkedHashMap<>();
    layout.sources().forEach((name, shape) -> made.put(name, new float[Math.toIntExact(shape.elements())]));
    for (Link link : layout.links()) {
      float[] target = made.get(link.source());
      float[] source = tensors.get(link.gguf());
      int width = width(layout.sources().get(link.source()));
      if (link.transposed()) {
        int height = target.length / width;
        for (int i = 0; i < target.length; i++) {
          target[i] = source[((int) link.ggufRow() + i % width) * height + i / width] - link.shift();
        }
      } else {
        for (int row = 0; row < link.rows(); row++) {
          for (int column = 0; column < width; column++) {
            int from = (int) (link.ggufRow() + link.order().targetOf(row)) * width + column;
            target[(int) (link.sourceRow() + row) * width + column] = source[from] - link.shift();
          }
        }
      }
    }
    return made;
  }

  private static int width(Shape shape) {
    return shape.rank() < 2 ? 1 : Math.toIntExact(shape.dimension(shape.rank() - 1));
  }
}
