/** How the tensors of GGUF files are made of those of Hugging Face checkpoints, by architecture. */
package io.portllm.io.internal.gguf.layout;
