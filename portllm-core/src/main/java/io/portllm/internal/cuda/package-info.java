/**
 * Merging on GPUs. What talks to the driver lies in the classes for newer JDKs, behind {@link io.portllm.internal.cuda.Device}. For
 * internal use only.
 */
package io.portllm.internal.cuda;
