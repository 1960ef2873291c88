package io.portllm.internal.cuda;

import io.portllm.TensorInfo;

/** A tensor in device memory, and what is known of its state. */
final class Slot {
  final TensorInfo info;
  final long address;
  /** A copy of the tensor as it was loaded; 0 if there is none. */
  long original;
  /** Whether a patch changed it. */
  boolean isChanged;
  /** The bits that the patch flipped; 0 if it did not flip but merge. */
  long mask;

  Slot(TensorInfo info, long address) {
    this.info = info;
    this.address = address;
  }
}
