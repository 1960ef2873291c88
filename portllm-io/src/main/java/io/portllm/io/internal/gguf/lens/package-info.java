/**
 * GGUF files as patches see them, and patched ones as GGUF stores them. {@link io.portllm.io.internal.gguf.lens.GgufLens} is where to start. For
 * internal use only.
 */
package io.portllm.io.internal.gguf.lens;
