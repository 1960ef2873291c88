package io.portllm.io.internal.gguf.layout;

import io.portllm.Shape;

/** How a GGUF tensor is made of Hugging Face tensors. */
interface Transform {
  /** Adds what the GGUF tensor is made of. */
  void link(Target target, LayoutBuilder layout) throws NoLayoutException;

  /**
   * The shape of the GGUF tensor.
   *
   * @param source the shape of the Hugging Face tensors, which is one for all of them
   * @param copies how many there are
   * @param hyperparameters of the model
   * @param layer the number of the layer, or 0
   */
  Shape target(Shape source, long copies, Hyperparameters hyperparameters, int layer) throws NoLayoutException;
}
