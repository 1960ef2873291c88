/**
 * Smaller patches with a stated error: low-rank factors in place of full changes. Start from {@link io.portllm.extract.LowRankExtraction}.
 */
package io.portllm.extract;
