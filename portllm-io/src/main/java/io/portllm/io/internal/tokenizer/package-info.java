/** The vocabulary of a model's tokenizer files, and tokenizer files with more tokens. */
package io.portllm.io.internal.tokenizer;
