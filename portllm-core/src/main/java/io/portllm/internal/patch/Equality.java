package io.portllm.internal.patch;

import io.portllm.Delta;
import io.portllm.IncompatibleModelException;
import io.portllm.Mismatch;
import io.portllm.internal.buffer.DirectBuffers;
import io.portllm.internal.text.Names;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;

/** Compares tensors that a patch must not change. */
public final class Equality {
  private Equality() {}

  /**
   * Compares {@code length} bytes of both tensors from byte {@code offset} on, as far as they go.
   *
   * @throws IncompatibleModelException naming the first element that differs
   */
  public static void require(String name, Delta.Unchanged delta, long offset, long length, DirectBuffers buffers) throws IOException {
    long end = Math.min(offset + length, Math.min(delta.tuned().info().bytes(), delta.base().info().bytes()));
    long at = offset;
    ByteBuffer tuned = buffers.lend(0);
    ByteBuffer base = buffers.lend(0);
    try {
      while (at < end) {
        int step = (int) Math.min(buffers.size(), end - at);
        delta.tuned().read(at, tuned.clear().limit(step));
        delta.base().read(at, base.clear().limit(step));
        int differs = tuned.flip().mismatch(base.flip());
        if (differs >= 0) {
          throw new IncompatibleModelException(
              Names.quote(delta.tuned().version().name()) + " is no fine-tune of " + Names.quote(delta.base().version().name()),
              List.of(
                  Mismatch.of(
                      name,
                      "is of type " + delta.base().info().dtype() + ", which must not change, but differs at byte " + (at + differs))));
        }
        at += step;
      }
    } finally {
      buffers.takeBack(tuned);
      buffers.takeBack(base);
    }
  }
}
