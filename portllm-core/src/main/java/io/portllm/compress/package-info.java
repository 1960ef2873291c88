/**
 * Patches made smaller with the error stated. Start at {@link io.portllm.compress.Compressor}.
 */
package io.portllm.compress;
