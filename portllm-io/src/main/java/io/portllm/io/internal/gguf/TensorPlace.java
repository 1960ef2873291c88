package io.portllm.io.internal.gguf;

import io.portllm.TensorInfo;

/**
 * A tensor where the header puts it.
 *
 * @param bytes its size, which {@link TensorInfo#bytes} cannot tell of those that no file has room for
 * @param offset the first byte of its data, counted from the start of the data
 * @param position where the header names it
 */
record TensorPlace(TensorInfo info, long bytes, long offset, long position) {}
