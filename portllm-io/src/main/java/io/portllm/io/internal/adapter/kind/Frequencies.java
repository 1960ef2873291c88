package io.portllm.io.internal.adapter.kind;

import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.io.internal.adapter.TorchRandom;
import java.io.IOException;
import java.util.HashMap;
import java.util.Map;

/** Where the numbers of a sparse spectrum lie, which torch's generator draws from a seed anew for each module. */
final class Frequencies {
  private final long seed;
  private final Map<Draw, long[]> drawn = new HashMap<>();

  private record Draw(long elements, int count) {}

  /**
   * A spectrum's numbers and their places in a weight as it is stored.
   *
   * @param rows the row of each number
   * @param columns the column of each number
   */
  record Spectrum(Shape shape, Tensor values, int[] rows, int[] columns) {}

  Frequencies(long seed) {
    this.seed = seed;
  }

  /**
   * The spectrum of a module.
   *
   * @param shape the shape of the weight as it is stored
   * @param transposed whether that is in × out
   */
  Spectrum spectrum(AdapterTensors.Module module, String part, Shape shape, boolean transposed) throws IOException {
    Tensor values = module.vector(part);
    int count = Math.toIntExact(values.info().elements());
    if (shape.rank() != 2 || count > shape.elements()) {
      throw module.shape(part + " has " + count + " numbers, but the weight is " + shape + " in the base");
    }
    long[] places = drawn.computeIfAbsent(new Draw(shape.elements(), count), draw -> new TorchRandom(seed).permutation(draw.elements(), draw.count()));
    long in = transposed ? shape.rows() : shape.columns();
    int[] outputs = new int[count];
    int[] inputs = new int[count];
    for (int i = 0; i < count; i++) {
      outputs[i] = Math.toIntExact(places[i] / in);
      inputs[i] = (int) (places[i] % in);
    }
    return transposed ? new Spectrum(shape, values, inputs, outputs) : new Spectrum(shape, values, outputs, inputs);
  }
}
