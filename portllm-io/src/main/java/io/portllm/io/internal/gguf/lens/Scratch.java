package io.portllm.io.internal.gguf.lens;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.concurrent.ConcurrentLinkedQueue;

/** What one thread needs to change a run of a GGUF tensor. */
final class Scratch {
  /** The tensor's bytes. */
  final ByteBuffer stored;

  /** Its elements as patches see them. */
  final ByteBuffer before;

  /** The same in the order of the Hugging Face tensor, where that is another. */
  final ByteBuffer ordered;

  /** The elements with the change, in the order of the GGUF tensor. */
  final ByteBuffer after;

  final float[] beforeValues;
  final float[] afterValues;
  final float[] storedValues;
  final int[] bits;

  private Scratch(int elements) {
    this.stored = direct(elements);
    this.before = direct(elements);
    this.ordered = direct(elements);
    this.after = direct(elements);
    this.beforeValues = new float[elements];
    this.afterValues = new float[elements];
    this.storedValues = new float[elements];
    this.bits = new int[elements];
  }

  private static ByteBuffer direct(int elements) {
    return ByteBuffer.allocateDirect(8 * elements).order(ByteOrder.LITTLE_ENDIAN);
  }

  /** Lends scratch space and takes it back. As much exists as was lent at one time. */
  static final class Pool {
    private final int elements;
    private final ConcurrentLinkedQueue<Scratch> free = new ConcurrentLinkedQueue<>();

    /**
     * Nothing yet.
     *
     * @param elements the longest run
     */
    Pool(int elements) {
      this.elements = elements;
    }

    Scratch lend() {
      Scratch scratch = free.poll();
      return scratch == null ? new Scratch(elements) : scratch;
    }

    void takeBack(Scratch scratch) {
      free.add(scratch);
    }
  }
}
