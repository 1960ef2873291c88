/**
 * The kinds of PEFT adapters, each a class that says which tensors it stores and which change of weights they mean. Start at
 * {@code AdapterKind}. For internal use only.
 */
package io.portllm.io.internal.adapter.kind;
