/**
 * Reading and writing of GGUF: {@link io.portllm.io.internal.gguf.GgufModel} is a model of one file or a set of split files,
 * {@link io.portllm.io.internal.gguf.GgufHeader} what stands before a file's weights,
 * {@link io.portllm.io.internal.gguf.GgufMetadata} its metadata,
 * {@link io.portllm.io.internal.gguf.GgufOutput} a file to be written.
 */
package io.portllm.io.internal.gguf;
