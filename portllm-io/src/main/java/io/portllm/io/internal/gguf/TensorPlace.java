package io.portllm.io.internal.gguf;

import io.portllm.TensorInfo;

/**
 * A tensor where the header puts it.
 *
 * @param offset the first byte of its data, counted from the start of the data
 * @param position where the header names it
 */
record TensorPlace(TensorInfo info, long offset, long position) {}
