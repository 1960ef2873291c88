package io.portllm.cuda;

import io.portllm.Patch;

/** A patch whose values lie in the memory of a GPU, for the model that it was {@link ResidentModel#prepare prepared} for. */
public interface ResidentPatch extends AutoCloseable {
  /** The patch. */
  Patch patch();

  /** Bytes of GPU memory that it takes. */
  long deviceBytes();

  /** Frees its memory. The patch stays on the model if it is on it. */
  @Override
  void close();
}
