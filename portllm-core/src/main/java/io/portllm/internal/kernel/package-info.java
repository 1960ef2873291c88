/** Arithmetic on runs of weights. For internal use only. */
package io.portllm.internal.kernel;
