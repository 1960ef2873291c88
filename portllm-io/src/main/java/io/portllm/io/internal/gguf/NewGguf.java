package io.portllm.io.internal.gguf;

import io.portllm.ModelVersion;

/** Tensors that are to be written as a GGUF file of their own. */
public interface NewGguf extends ModelVersion {
  /** The metadata of the file. */
  NewMetadata metadata();
}
