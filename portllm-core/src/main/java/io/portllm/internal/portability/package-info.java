/** How portability is measured and judged. For internal use only. */
package io.portllm.internal.portability;
