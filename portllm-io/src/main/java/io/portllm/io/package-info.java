/**
 * Model files: opens and writes checkpoints ({@link io.portllm.io.Checkpoints}), reads PEFT adapters
 * ({@link io.portllm.io.PeftAdapter}), reads and writes patch files ({@link io.portllm.io.PatchFile}).
 */
package io.portllm.io;
