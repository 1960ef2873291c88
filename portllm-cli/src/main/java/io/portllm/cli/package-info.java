/** The {@code portllm} command. Start from {@link io.portllm.cli.Main}. */
package io.portllm.cli;
