/**
 * Models in the memory of a GPU.
 *
 * <p>Start from {@link io.portllm.cuda.ResidentModel}. To port files with a GPU, give {@link io.portllm.Merger#cuda} to
 * {@link io.portllm.MergeOptions#withMerger}.
 */
package io.portllm.cuda;
