package io.portllm.io.internal.adapter.kind;

import io.portllm.Delta;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.io.internal.adapter.TorchRandom;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * VeRA (arXiv 2310.11454): {@code diag(b)·B·diag(d)·A}, where all modules share the random B and A. These are stored, or made anew from their
 * seed; then they are held in memory, as large as the factors of one LoRA of that rank.
 */
final class VeraKind implements AdapterKind {
  private static final String B = "vera_lambda_b";
  private static final String D = "vera_lambda_d";

  @Override
  public List<String> parts() {
    return List.of(B, D);
  }

  @Override
  public List<String> shared() {
    return List.of("vera_A", "vera_B");
  }

  @Override
  public Optional<String> needsBase(AdapterTensors tensors) {
    return Optional.of("is changed by VeRA, and only the base tells how many columns it has");
  }

  @Override
  public Map<String, Delta> deltas(AdapterTensors tensors, AdapterBase base) throws IOException {
    boolean transposed = tensors.config().fanInFanOut();
    int rank = tensors.config().count("r");
    long mostOut = 1;
    long mostIn = 1;
    for (AdapterTensors.Module module : tensors.modules().values()) {
      module.get(D, rank);
      module.vector(B);
      Shape weight = base.shape(module.weight());
      mostOut = Math.max(mostOut, transposed ? weight.columns() : weight.rows());
      mostIn = Math.max(mostIn, transposed ? weight.rows() : weight.columns());
    }
    TorchRandom random = new TorchRandom(tensors.config().integer("projection_prng_key", 0));
    Tensor a = stored(tensors, "vera_A", rank, mostIn).orElse(null);
    Tensor b = stored(tensors, "vera_B", mostOut, rank).orElse(null);
    if (a == null || b == null) {
      // In this order, out of one generator. torch's fan is the number of columns.
      a = InMemory.of("vera_A", Shape.of(rank, mostIn), uniform(random, rank * mostIn, mostIn));
      b = InMemory.of("vera_B", Shape.of(mostOut, rank), uniform(random, mostOut * rank, rank));
    }
    Map<String, Delta> deltas = new TreeMap<>();
    for (AdapterTensors.Module module : tensors.modules().values()) {
      Shape weight = base.shape(module.weight());
      long in = transposed ? weight.rows() : weight.columns();
      deltas.put(module.weight(), LowRank.of(RowScaled.of(b, module.get(B)), RowScaled.of(a, module.get(D), in), 1, transposed));
    }
    return deltas;
  }

  private static Optional<Tensor> stored(AdapterTensors tensors, String part, long rows, long columns) throws IOException {
    Optional<Tensor> tensor = tensors.shared(part);
    if (tensor.isPresent()) {
      Shape shape = tensor.get().info().shape();
      if (shape.rank() != 2 || shape.rows() < rows || shape.columns() < columns) {
        throw tensors.malformed("AD-SHAPE", part + " must be at least [" + rows + ", " + columns + "] for its modules but is " + shape);
      }
    }
    return tensor;
  }

  private static float[] uniform(TorchRandom random, long count, long fan) {
    double bound = Math.sqrt(3.0) * (Math.sqrt(2) / Math.sqrt(fan));
    return random.uniform(Math.toIntExact(count), -bound, bound);
  }
}
