package io.portllm.io.internal.adapter.kind;

import io.portllm.Delta;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.io.MalformedModelException;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * RandLoRA (arXiv 2502.00987): a sum of products of random matrices that all modules share, each scaled by learnt numbers, times
 * randlora_alpha / r.
 */
final class RandLoraKind implements AdapterKind {
  private static final String LAMBDA = "randlora_lambda";
  private static final String GAMMA = "randlora_gamma";
  private static final String A = "randlora_A";
  private static final String B = "randlora_B";

  @Override
  public List<String> parts() {
    // PEFT saves the shared matrices for each module too.
    return List.of(LAMBDA, GAMMA, A, B);
  }

  @Override
  public List<String> shared() {
    return List.of(A, B);
  }

  @Override
  public Optional<String> needsBase(AdapterTensors tensors) {
    return Optional.of("is changed by RandLoRA, and only the base tells its shape");
  }

  @Override
  public Map<String, Delta> deltas(AdapterTensors tensors, AdapterBase base) throws IOException {
    int rank = tensors.config().count("r");
    boolean transposed = tensors.config().fanInFanOut();
    double scale = tensors.config().number("randlora_alpha") / rank;
    RandomBases generated = null;
    Map<String, Delta> deltas = new TreeMap<>();
    Kept kept = new Kept();
    for (AdapterTensors.Module module : tensors.modules().values()) {
      Shape weight = base.shape(module.weight());
      long least = Math.min(weight.rows(), weight.columns());
      long most = Math.max(weight.rows(), weight.columns());
      long bases = (least + rank - 1) / rank;
      Tensor lambda = module.get(LAMBDA, rank, bases);
      Tensor gamma = module.get(GAMMA, bases, least);
      Optional<Tensor> a = tensors.shared(A).or(() -> module.find(A));
      Optional<Tensor> b = tensors.shared(B).or(() -> module.find(B));
      if (a.isEmpty() || b.isEmpty()) {
        generated = generated == null ? generate(tensors, base, rank, transposed) : generated;
        a = Optional.of(generated.a());
        b = Optional.of(generated.b());
      }
      requireAtLeast(module, A, a.get(), rank, 1, least);
      requireAtLeast(module, B, b.get(), most, bases, rank);
      // A square weight has the outputs on the side of B.
      boolean rowsOfB = transposed ? weight.rows() > weight.columns() : weight.rows() >= weight.columns();
      deltas.put(
          module.weight(),
          new Delta.Computed(new RandLora(weight, rowsOfB, a.get(), b.get(), lambda, gamma, scale, kept), Optional.empty()));
    }
    return deltas;
  }

  private static void requireAtLeast(AdapterTensors.Module module, String part, Tensor tensor, long first, long second, long third)
      throws MalformedModelException {
    Shape shape = tensor.info().shape();
    // The ranks lie side by side, so that a larger one would shift all numbers.
    boolean exact = part.equals(B) ? shape.rank() == 3 && shape.dimension(2) == third : shape.rank() == 3 && shape.dimension(0) == first;
    if (!exact || shape.dimension(0) < first || shape.dimension(1) < second || shape.dimension(2) < third) {
      throw module.shape(part + " must be at least " + Shape.of(first, second, third) + " but is " + shape);
    }
  }

  private static RandomBases generate(AdapterTensors tensors, AdapterBase base, int rank, boolean transposed) throws IOException {
    long mostOut = 1;
    long mostIn = 1;
    for (AdapterTensors.Module module : tensors.modules().values()) {
      Shape weight = base.shape(module.weight());
      mostOut = Math.max(mostOut, transposed ? weight.columns() : weight.rows());
      mostIn = Math.max(mostIn, transposed ? weight.rows() : weight.columns());
    }
    long least = Math.min(mostOut, mostIn);
    long most = Math.max(mostOut, mostIn);
    long seed = tensors.config().integer("projection_prng_key", 0);
    if (tensors.config().flag("very_sparse")) {
      return RandomBases.sparse(seed, rank, least, most, Math.sqrt(least));
    }
    return tensors.config().flag("sparse")
        ? RandomBases.sparse(seed, rank, least, most, 3)
        : RandomBases.dense(seed, rank, least, most);
  }
}
