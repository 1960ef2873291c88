package io.portllm.internal.merge;

import com.google.common.primitives.ImmutableDoubleArray;
import io.portllm.Delta;
import io.portllm.Patch;
import io.portllm.RowChange;
import io.portllm.TokenRows;
import io.portllm.internal.patch.PatchTokens;
import io.portllm.internal.patch.Stacks;
import io.portllm.merge.Combination;
import io.portllm.merge.MergeMethod;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.function.IntFunction;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** Several patches made one. */
public final class Composition {
  private final List<Patch> patches;
  private final ImmutableDoubleArray weights;
  private final MergeMethod method;
  private final Map<String, Delta> deltas = new TreeMap<>();

  private Composition(List<Patch> patches, ImmutableDoubleArray weights, MergeMethod method) {
    this.patches = patches;
    this.weights = weights;
    this.method = method;
  }

  /** The patch that {@code method} makes. Arguments were checked. */
  public static Patch of(List<Patch> patches, List<Double> weights, MergeMethod method) {
    Composition composition = new Composition(patches, ImmutableDoubleArray.copyOf(weights), method);
    TokenRows tokens = PatchTokens.common(patches);
    return Patch.of(composition.compose(), PatchTensors.base(patches), composition.recipe()).withTokens(tokens);
  }

  private String recipe() {
    return IntStream.range(0, patches.size())
        .mapToObj(i -> weights.get(i) + " * (" + patches.get(i).recipe() + ")")
        .collect(Collectors.joining(", ", method + "[", "]"));
  }

  private Map<String, Delta> compose() {
    if (method instanceof MergeMethod.Sum) {
      return sum(1);
    } else if (method instanceof MergeMethod.Linear) {
      return sum(weights.stream().sum());
    }
    PatchTensors tensors = PatchTensors.of(patches);
    deltas.putAll(tensors.unchanged());
    if (method instanceof MergeMethod.Ties ties) {
      ties(ties, tensors.inputs());
    } else {
      tensors.inputs().forEach((tensor, all) -> put(tensor, each(all, part -> change(tensor, part))));
    }
    return deltas;
  }

  /** Terms stay what they are, so that low-rank changes stay low-rank. */
  private Map<String, Delta> sum(double divisor) {
    return IntStream.range(0, patches.size())
        .mapToObj(i -> patches.get(i).scaledBy(weights.get(i) / divisor))
        .reduce(Patch::plus)
        .orElseThrow()
        .deltas();
  }

  private void put(String tensor, RowChange change) {
    deltas.put(tensor, new Delta.Computed(change, Optional.empty()));
  }

  private RowChange change(String tensor, Inputs all) {
    if (method instanceof MergeMethod.Dare dare) {
      return sparse(
          all, false, each(i -> Sparsifier.random(new Coins(dare.seed(), i, tensor, all.start()), dare.density())), dare.combination());
    } else if (method instanceof MergeMethod.Della della) {
      double half = della.density() == 1 ? 0 : della.window() / 2;
      return sparse(
          all,
          true,
          each(
              i ->
                  Sparsifier.randomByRank(
                      new Coins(della.seed(), i, tensor, all.start()), della.density() - half, della.density() + half)),
          della.combination());
    } else if (method instanceof MergeMethod.Breadcrumbs crumbs) {
      return sparse(all, false, each(i -> breadcrumbs(crumbs, all.of(i))), crumbs.combination());
    } else if (method instanceof MergeMethod.Slerp slerp) {
      double t = weights.get(1) / (weights.get(0) + weights.get(1));
      return new AngleSum(all, slerp.byRow(), gram -> AngleSum.slerp(gram, t));
    } else if (method instanceof MergeMethod.Sce sce) {
      return new SceSum(all, sce.density());
    } else if (method instanceof MergeMethod.ModelStock stock) {
      return new AngleSum(all, stock.byRow(), AngleSum::modelStock);
    }
    throw new IllegalStateException("no change is computed by " + method);
  }

  private static Sparsifier breadcrumbs(MergeMethod.Breadcrumbs method, Elements change) {
    long dropped = (long) (method.gamma() * change.count());
    long kept = (long) (method.density() * change.count());
    return Sparsifier.between(new Memo<>(() -> Selection.top(change, dropped, dropped + kept)));
  }

  private void ties(MergeMethod.Ties ties, Map<String, Inputs> inputs) {
    if (ties.scope() == MergeMethod.Scope.TENSOR) {
      inputs.forEach(
          (tensor, all) ->
              put(tensor, each(all, part -> sparse(part, false, each(i -> trim(ties, List.of(part.of(i)), 0)), ties.combination()))));
      return;
    }
    List<Memo<Cut>> lines = each(i -> line(ties, inputs.values().stream().map(all -> all.of(i)).toList()));
    long before = 0;
    for (Map.Entry<String, Inputs> entry : inputs.entrySet()) {
      long offset = before;
      put(
          entry.getKey(),
          each(
              entry.getValue(),
              part -> sparse(part, false, each(i -> Sparsifier.above(lines.get(i), offset + part.start())), ties.combination())));
      before += entry.getValue().shape().elements();
    }
  }

  private static Sparsifier trim(MergeMethod.Ties ties, List<Elements> run, long offset) {
    return Sparsifier.above(line(ties, run), offset);
  }

  private static Memo<Cut> line(MergeMethod.Ties ties, List<Elements> runs) {
    return new Memo<>(() -> Selection.top(runs, (elements, nonZero) -> new long[] {(long) (ties.density() * elements)}).get(0));
  }

  private RowChange sparse(Inputs all, boolean byRow, List<Sparsifier> sparsifiers, Combination combination) {
    return new SparseSum(all, byRow, sparsifiers, weights, combination);
  }

  /** The matrices of a stack are merged each for itself, as if they were tensors of their own. */
  private static RowChange each(Inputs all, Function<Inputs, RowChange> merged) {
    return Stacks.isStack(all.tensor(), all.shape())
        ? new StackedChange(all.shape(), all.tensors(), all.matrices().stream().map(merged).toList())
        : merged.apply(all);
  }

  private <T> List<T> each(IntFunction<T> maker) {
    return IntStream.range(0, patches.size()).mapToObj(maker).toList();
  }
}
