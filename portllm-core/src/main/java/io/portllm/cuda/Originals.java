package io.portllm.cuda;

/** Where a {@link ResidentModel} has the bits from that it puts back when a patch is taken off. */
public enum Originals {
  /** A copy of each tensor that a patch changed, kept in GPU memory from then on: twice the memory, and patches change in one pass. */
  KEPT,
  /** The model that was loaded, read again: no further memory, and as slow as reading. */
  READ_AGAIN
}
