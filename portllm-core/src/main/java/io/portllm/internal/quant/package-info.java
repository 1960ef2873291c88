/** The quantised types of GGUF: blocks of weights that share scales. */
package io.portllm.internal.quant;
