package io.portllm.io.internal.adapter.kind;

import io.portllm.Delta;
import io.portllm.IncompatibleModelException;
import io.portllm.Mismatch;
import io.portllm.RowChange;
import io.portllm.Shape;
import io.portllm.internal.text.Names;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/** A kind that multiplies weights, and whose tensors do not tell the shape of what they multiply. */
abstract class SizedByBase implements AdapterKind {
  private static final Optional<String> REASON =
      Optional.of("is multiplied by the adapter, which does not tell its shape: give its base, or, to evaluate it anew, the new base as its base");

  @Override
  public final Optional<String> needsBase(AdapterTensors tensors) throws IOException {
    // What contradicts itself is refused before anybody asks for a base.
    for (AdapterTensors.Module module : tensors.modules().values()) {
      read(tensors, module, new Kept());
    }
    return REASON;
  }

  @Override
  public final Map<String, Delta> deltas(AdapterTensors tensors, AdapterBase base) throws IOException {
    Map<String, Delta> deltas = new TreeMap<>();
    List<Mismatch> mismatches = new ArrayList<>();
    Kept kept = new Kept();
    for (AdapterTensors.Module module : tensors.modules().values()) {
      Shape weight = base.shape(module.weight());
      Factory factory = read(tensors, module, kept);
      if (weight.rank() < 2 || !factory.fits(weight)) {
        mismatches.add(Mismatch.of(module.weight(), "is " + weight + " in the base, but the adapter is for " + factory.expected()));
        continue;
      }
      deltas.put(module.weight(), new Delta.Computed(factory.change(weight), Optional.empty()));
      String bias = module.path() + ".bias";
      Optional<Shape> biasShape = base.tensor(bias).map(tensor -> tensor.info().shape());
      if (biasShape.isPresent()) {
        factory.biasChange(weight, biasShape.get()).ifPresent(change -> deltas.put(bias, new Delta.Computed(change, Optional.empty())));
      }
    }
    if (!mismatches.isEmpty()) {
      String name = base.model().map(model -> " " + Names.quote(model.name())).orElse("");
      throw new IncompatibleModelException("the adapter does not fit the base" + name, mismatches);
    }
    return deltas;
  }

  /**
   * Reads the tensors of a module.
   *
   * @throws io.portllm.io.MalformedModelException if they contradict each other or the configuration
   */
  abstract Factory read(AdapterTensors tensors, AdapterTensors.Module module, Kept kept) throws IOException;

  /** Makes the changes of one module once its shape is known. */
  interface Factory {
    /** Which shapes fit, as the end of a sentence. */
    String expected();

    /** Whether the adapter is for weights of this shape, of two dimensions or more. */
    boolean fits(Shape weight);

    /** The change of a weight that fits. */
    RowChange change(Shape weight);

    /** The change of the bias beside a weight that fits, if there is one. */
    default Optional<RowChange> biasChange(Shape weight, Shape bias) {
      return Optional.empty();
    }
  }
}
