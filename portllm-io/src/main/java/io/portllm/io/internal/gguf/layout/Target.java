package io.portllm.io.internal.gguf.layout;

import io.portllm.Shape;
import io.portllm.internal.text.Names;
import java.util.function.LongFunction;

/**
 * A GGUF tensor that a rule is about.
 *
 * @param name its name
 * @param shape its dimensions, outermost first
 * @param sources the name of the Hugging Face tensor, by the number of the expert or head
 * @param hyperparameters of the model
 * @param layer the number of its layer, or 0
 */
record Target(String name, Shape shape, LongFunction<String> sources, Hyperparameters hyperparameters, int layer) {
  private static final long MOST = 100_000;

  /** Rows of the tensor seen as a matrix; of a vector, its elements. */
  long rows() {
    return rows(shape);
  }

  /** Rows of a tensor of this shape. */
  static long rows(Shape shape) {
    int rank = shape.rank();
    return rank < 2 ? shape.elements() : shape.elements() / Math.max(1, shape.dimension(rank - 1));
  }

  /** The one Hugging Face tensor that it is made of. */
  String source() {
    return sources.apply(0);
  }

  /** The attention heads of its layer. */
  long heads() throws NoLayoutException {
    return hyperparameters.heads(layer);
  }

  /** The heads of keys and values of its layer. */
  long keyValueHeads() throws NoLayoutException {
    return hyperparameters.keyValueHeads(layer);
  }

  NoLayoutException misshapen(String expected) {
    return new NoLayoutException("has tensor " + Names.quote(name) + " of shape " + shape + ", where " + expected + " was expected");
  }

  /** Refuses numbers of experts, heads or groups that no model has, before a link is made for each. */
  void requireFew(long count) throws NoLayoutException {
    if (count > MOST) {
      throw misshapen("at most " + MOST + " parts");
    }
  }

  /** Rows of a head if there are {@code count} in the first dimension. */
  long width(long count) throws NoLayoutException {
    if (shape.rank() < 1 || count < 1 || shape.dimension(0) % count != 0) {
      throw misshapen("a multiple of " + count + " heads in the first dimension");
    }
    return shape.dimension(0) / count;
  }
}
