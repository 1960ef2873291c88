package io.portllm.internal.quant;

/** Writes blocks of one type. An instance holds the arrays it works in: it is for one thread. */
interface BlockWriter {
  /**
   * Writes finite values as whole blocks, every byte of them.
   *
   * @param from the index of the first value
   * @param blocks how many
   * @param at the index of the first block's first byte
   */
  void write(float[] values, int from, int blocks, byte[] target, int at);
}
