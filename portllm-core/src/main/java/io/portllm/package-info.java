/**
 * Patches of language models: what fine-tuning changed, put on a newer release of the same model.
 *
 * <p>Start from {@link io.portllm.Patch}. A {@link io.portllm.ModelVersion} is a checkpoint, opened by {@code portllm-io},
 * held in memory, or patched; a {@link io.portllm.Delta} is the change of one tensor; a {@link io.portllm.Merger} is the
 * arithmetic. The words are those of PortLLM (arXiv 2410.10870): base θ, fine-tuned θᵢ, patch Δθᵢ, new base θ′, ported
 * θ′ + Δθᵢ.
 */
package io.portllm;
