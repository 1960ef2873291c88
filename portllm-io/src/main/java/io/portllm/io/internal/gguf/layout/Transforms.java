package io.portllm.io.internal.gguf.layout;

import io.portllm.Shape;

/** The ways in which llama.cpp's converter makes tensors of tensors. */
final class Transforms {
  private Transforms() {}

  /**
   * The tensor as it is.
   *
   * @param shift what is added to the values of weights; biases stay
   */
  record Same(float shift) implements Transform {
    @Override
    public void link(Target target, LayoutBuilder layout) throws NoLayoutException {
      float added = target.name().endsWith(".weight") ? shift : 0;
      layout.rows(target, 0, target.source(), target.shape(), 0, target.rows(), RowOrder.SAME, added);
    }

    @Override
    public Shape target(Shape source, long copies, Hyperparameters hyperparameters, int layer) {
      return source;
    }
  }

  /**
   * Heads with their rows in pairs, weights and biases.
   *
   * @param keys whether the heads are those of keys
   */
  record Rotary(boolean keys) implements Transform {
    @Override
    public void link(Target target, LayoutBuilder layout) throws NoLayoutException {
      long width = target.width(keys ? target.keyValueHeads() : target.heads());
      if (width % 2 != 0) {
        throw target.misshapen("an even number of rows for each head");
      }
      layout.rows(target, 0, target.source(), target.shape(), 0, target.rows(), new RowOrders.Pairs(width), 0);
    }

    @Override
    public Shape target(Shape source, long copies, Hyperparameters hyperparameters, int layer) {
      return source;
    }
  }

  /** A matrix transposed (transformers' Conv1D); a bias as it is. */
  record Transposed() implements Transform {
    @Override
    public void link(Target target, LayoutBuilder layout) throws NoLayoutException {
      if (target.shape().rank() == 1) {
        new Same(0).link(target, layout);
      } else {
        layout.transposed(target, 0, target.source(), swapped(target.shape()));
      }
    }

    @Override
    public Shape target(Shape source, long copies, Hyperparameters hyperparameters, int layer) throws NoLayoutException {
      return source.rank() == 1 ? source : swapped(source);
    }

    private static Shape swapped(Shape shape) throws NoLayoutException {
      if (shape.rank() != 2) {
        throw new NoLayoutException("has shape " + shape + " where a matrix was expected");
      }
      return Shape.of(shape.dimension(1), shape.dimension(0));
    }
  }

  /**
   * Fused queries, keys and values in another order.
   *
   * @param perHead whether each head of queries comes with its keys and values, whatever the number of heads of keys
   */
  record Regrouped(boolean perHead) implements Transform {
    @Override
    public void link(Target target, LayoutBuilder layout) throws NoLayoutException {
      long groups = perHead ? target.heads() : target.keyValueHeads();
      if (groups < 1 || target.heads() % groups != 0) {
        throw new NoLayoutException("has " + target.heads() + " heads in " + groups + " groups");
      }
      long queries = target.heads() / groups;
      RowOrder order = new RowOrders.Groups(groups, queries, target.width(Math.multiplyExact(groups, queries + 2)));
      layout.rows(target, 0, target.source(), target.shape(), 0, target.rows(), order, 0);
    }

    @Override
    public Shape target(Shape source, long copies, Hyperparameters hyperparameters, int layer) {
      return source;
    }
  }

  /** Matrices of experts, stacked. */
  record Experts() implements Transform {
    @Override
    public void link(Target target, LayoutBuilder layout) throws NoLayoutException {
      if (target.shape().rank() != 3) {
        throw target.misshapen("a stack of matrices");
      }
      target.requireFew(target.shape().dimension(0));
      long rows = target.shape().dimension(1);
      Shape expert = Shape.of(rows, target.shape().dimension(2));
      for (long e = 0; e < target.shape().dimension(0); e++) {
        layout.rows(target, e * rows, target.sources().apply(e), expert, 0, rows, RowOrder.SAME, 0);
      }
    }

    @Override
    public Shape target(Shape source, long copies, Hyperparameters hyperparameters, int layer) throws NoLayoutException {
      if (source.rank() != 2) {
        throw new NoLayoutException("has experts of shape " + source + ", where matrices were expected");
      }
      return Shape.of(copies, source.dimension(0), source.dimension(1));
    }
  }

  /**
   * One half of the rows of a matrix, or of each matrix of a stack.
   *
   * @param second whether it is the second half
   */
  record Half(boolean second) implements Transform {
    @Override
    public void link(Target target, LayoutBuilder layout) throws NoLayoutException {
      int rank = target.shape().rank();
      if (rank < 2 || rank > 3) {
        throw target.misshapen("a matrix or a stack of matrices");
      }
      long[] whole = target.shape().toArray();
      long rows = whole[rank - 2];
      whole[rank - 2] = Math.multiplyExact(rows, 2L);
      long matrices = rank == 3 ? whole[0] : 1;
      target.requireFew(matrices);
      for (long i = 0; i < matrices; i++) {
        layout.rows(target, i * rows, target.source(), Shape.of(whole), (2 * i + (second ? 1 : 0)) * rows, rows, RowOrder.SAME, 0);
      }
    }

    @Override
    public Shape target(Shape source, long copies, Hyperparameters hyperparameters, int layer) throws NoLayoutException {
      int rank = source.rank();
      if (rank < 2 || rank > 3 || source.dimension(rank - 2) % 2 != 0) {
        throw new NoLayoutException("has shape " + source + ", where two halves were expected");
      }
      long[] half = source.toArray();
      half[rank - 2] /= 2;
      return Shape.of(half);
    }
  }

  /** What a tensor holds of a fused tensor of groups. */
  enum Role {
    QUERIES,
    KEYS,
    VALUES
  }

  /**
   * The queries, keys or values of a fused tensor of groups, each of which has some heads of queries, one of keys and one of values;
   * queries and keys with their rows in pairs.
   */
  record Grouped(Role role) implements Transform {
    @Override
    public void link(Target target, LayoutBuilder layout) throws NoLayoutException {
      long groups = target.keyValueHeads();
      target.requireFew(groups);
      long queries = queries(target.heads(), groups);
      long width = target.width(role == Role.QUERIES ? target.heads() : groups);
      if (width % 2 != 0) {
        throw target.misshapen("an even number of rows for each head");
      }
      Shape fused = target.shape().withRows(Math.multiplyExact(groups * (queries + 2), width));
      RowOrder order = role == Role.VALUES ? RowOrder.SAME : new RowOrders.Pairs(width);
      long rows = role == Role.QUERIES ? queries * width : width;
      long first = switch (role) {
        case QUERIES -> 0;
        case KEYS -> queries * width;
        case VALUES -> (queries + 1) * width;
      };
      for (long g = 0; g < groups; g++) {
        layout.rows(target, g * rows, target.source(), fused, g * (queries + 2) * width + first, rows, order, 0);
      }
    }

    @Override
    public Shape target(Shape source, long copies, Hyperparameters hyperparameters, int layer) throws NoLayoutException {
      long heads = hyperparameters.heads(layer);
      long keyValueHeads = hyperparameters.keyValueHeads(layer);
      long all = heads + 2 * keyValueHeads;
      if (source.rank() < 1 || source.dimension(0) % all != 0) {
        throw new NoLayoutException("has shape " + source + ", where a multiple of " + all + " heads was expected");
      }
      return source.withRows(source.dimension(0) / all * (role == Role.QUERIES ? heads : keyValueHeads));
    }

    private static long queries(long heads, long groups) throws NoLayoutException {
      if (groups < 1 || heads % groups != 0) {
        throw new NoLayoutException("has " + heads + " heads in " + groups + " groups");
      }
      return heads / groups;
    }
  }

  /** Vectors of heads, stacked as the rows of a matrix. */
  record Vectors() implements Transform {
    @Override
    public void link(Target target, LayoutBuilder layout) throws NoLayoutException {
      if (target.shape().rank() != 2) {
        throw target.misshapen("a matrix");
      }
      target.requireFew(target.shape().dimension(0));
      for (long row = 0; row < target.shape().dimension(0); row++) {
        layout.transposed(target, row, target.sources().apply(row), Shape.of(target.shape().dimension(1)));
      }
    }

    @Override
    public Shape target(Shape source, long copies, Hyperparameters hyperparameters, int layer) throws NoLayoutException {
      if (source.rank() != 1) {
        throw new NoLayoutException("has shape " + source + ", where a vector was expected");
      }
      return Shape.of(copies, source.dimension(0));
    }
  }

  /** A matrix of one row, which older converters stored as a vector. */
  record OneRow() implements Transform {
    @Override
    public void link(Target target, LayoutBuilder layout) throws NoLayoutException {
      if (target.shape().rank() == 1) {
        layout.transposed(target, 0, target.source(), Shape.of(1, target.shape().dimension(0)));
      } else {
        new Same(0).link(target, layout);
      }
    }

    @Override
    public Shape target(Shape source, long copies, Hyperparameters hyperparameters, int layer) {
      return source;
    }
  }
}
