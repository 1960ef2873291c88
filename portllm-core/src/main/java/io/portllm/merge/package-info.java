/**
 * Patches made of patches. Start from {@link io.portllm.merge.Merging}; {@link io.portllm.merge.MergeMethod} lists the methods, and
 * {@link io.portllm.merge.ConflictReport} says how much patches contradict each other.
 */
package io.portllm.merge;
