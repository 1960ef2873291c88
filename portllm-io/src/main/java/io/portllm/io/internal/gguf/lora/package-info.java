/**
 * LoRA adapters in llama.cpp's format: GGUF files of factors. {@link io.portllm.io.internal.gguf.lora.LoraFile} reads one,
 * {@link io.portllm.io.internal.gguf.lora.LoraDeltas} makes a patch of it, {@link io.portllm.io.internal.gguf.lora.LoraExport} one of a
 * patch.
 */
package io.portllm.io.internal.gguf.lora;
