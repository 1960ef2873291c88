/**
 * PEFT adapters: their configuration, their key names and what both mean. Start at AdapterContents; TensorSorting knows the key names, and
 * TensorChecking what must fit. For internal use only.
 */
package io.portllm.io.internal.adapter;
