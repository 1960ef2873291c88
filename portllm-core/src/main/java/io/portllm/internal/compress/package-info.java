/** Encoding of changes in fewer bits. For internal use only. */
package io.portllm.internal.compress;
