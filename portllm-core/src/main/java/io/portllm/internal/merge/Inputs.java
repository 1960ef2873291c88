package io.portllm.internal.merge;

import com.google.common.collect.ImmutableList;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.internal.patch.DeltaValues;
import io.portllm.internal.patch.Stacks;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * The changes that several patches make to one tensor.
 *
 * @param tensor its name
 * @param shape its shape, or that of the part of it that is looked at
 * @param start the element of the tensor that is the first here
 * @param changes one for each patch; empty where a patch leaves the tensor alone, which counts as zero
 */
record Inputs(String tensor, Shape shape, long start, List<Optional<DeltaValues>> changes) {
  Inputs {
    changes = ImmutableList.copyOf(changes);
  }

  /** The matrices of a stack, each for itself; else all of it. */
  List<Inputs> matrices() {
    if (!Stacks.isStack(tensor, shape)) {
      return List.of(this);
    }
    Shape matrix = Stacks.matrix(shape);
    return IntStream.range(0, Stacks.count(shape))
        .mapToObj(i -> new Inputs(tensor, matrix, start + i * matrix.elements(), changes))
        .toList();
  }

  /** All tensors that are read. */
  List<Tensor> tensors() {
    return changes.stream().flatMap(Optional::stream).flatMap(values -> values.inputs().stream()).toList();
  }

  int patches() {
    return changes.size();
  }

  /** The change by patch number {@code patch}. */
  Elements of(int patch) {
    return new Elements() {
      @Override
      public long count() {
        return shape.elements();
      }

      @Override
      public void read(long first, int count, float[] target) throws IOException {
        Optional<DeltaValues> change = changes.get(patch);
        if (change.isPresent()) {
          change.get().read(start + first, count, target);
        } else {
          Arrays.fill(target, 0, count, 0);
        }
      }
    };
  }

  /** The changes by all patches. */
  List<Elements> all() {
    return IntStream.range(0, patches()).mapToObj(this::of).toList();
  }
}
