/** PEFT adapters: their configuration, their key names and what both mean. For internal use only. */
package io.portllm.io.internal.adapter;
