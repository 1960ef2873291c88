package io.portllm;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Optional;

/**
 * A change of bit patterns: it makes one tensor of another, bit for bit, and can be taken back. Elements are not numbers to it, so that
 * every type, signed zeros and NaN payloads included, passes unharmed.
 *
 * <p>It is meant for one tensor alone, of which it knows the digest. Whoever applies it compares the digests first.
 *
 * <p>Implementations are immutable and safe for use by many threads.
 */
public interface BitChange {
  /** The tensor that it changes; empty where it adds one. */
  Optional<TensorInfo> before();

  /** The tensor that it makes; empty where it removes one. */
  Optional<TensorInfo> after();

  /**
   * The digest of the tensor that it changes, as {@link Fingerprint} defines it. May read that tensor.
   *
   * @throws IllegalStateException if there is none
   */
  String digestBefore() throws IOException;

  /**
   * The digest of the tensor that it makes, as {@link Fingerprint} defines it. May read that tensor.
   *
   * @throws IllegalStateException if there is none
   */
  String digestAfter() throws IOException;

  /** The tensors that it reads, besides the one that it changes. */
  List<Tensor> inputs();

  /**
   * Checks that what it reads is whole. Reads all of that.
   *
   * @throws IOException if it is not, naming the tensor
   */
  void verify() throws IOException;

  /**
   * Reads bytes of the tensor that it makes.
   *
   * @param given the tensor that is changed, with the digest {@link #digestBefore}; empty where it adds one
   * @param offset the first byte, at the start of an element; any if elements share bytes, as those of quantised types do
   * @param destination filled from its position to its limit, which is at the end of an element, if elements have ends
   */
  void read(Optional<Tensor> given, long offset, ByteBuffer destination) throws IOException;

  /** The change that takes this one back. */
  BitChange inverse();
}
