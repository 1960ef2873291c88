/** Dense linear algebra in float64 for low-rank extraction. For internal use only. */
package io.portllm.internal.extract;
