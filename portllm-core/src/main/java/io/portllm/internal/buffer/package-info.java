/** Reused memory. For internal use only. */
package io.portllm.internal.buffer;
