/** Speed of GGUF's quantised types, and the same blocks for comparison with other programs. */
package io.portllm.bench.quant;
