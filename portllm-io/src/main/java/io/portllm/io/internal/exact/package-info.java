/**
 * Differences of bit patterns as compressed blocks. {@link io.portllm.io.internal.exact.BlockEncoder} has the format of a block; it and
 * {@link io.portllm.io.internal.exact.BlockDecoder} are built of symbol streams (rANS). For internal use only.
 */
package io.portllm.io.internal.exact;
