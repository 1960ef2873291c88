/**
 * Ports a patch between two published releases of bge-small-en and measures all four models. Reading of ONNX weights
 * ({@link io.portllm.bench.real.OnnxCheckpoint}) and the tokenizer ({@link io.portllm.bench.real.BertTokenizer}) are here; what
 * needs ONNX Runtime is in {@code src/real} and compiled in the Maven profile {@code real} alone.
 */
package io.portllm.bench.real;
