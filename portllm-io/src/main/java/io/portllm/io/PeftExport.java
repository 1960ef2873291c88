package io.portllm.io;

import io.portllm.Patch;
import io.portllm.io.internal.adapter.AdapterExport;
import io.portllm.io.internal.write.CheckpointWriter;
import java.io.IOException;
import java.nio.file.Path;

/**
 * Writes patches as PEFT LoRA adapters: {@code adapter_config.json} and {@code adapter_model.safetensors}. {@code docs/reference/extraction.md}
 * says what becomes of each change.
 */
public final class PeftExport {
  private PeftExport() {}

  /** Writes a patch as an adapter of the model that it was made on. */
  public static WriteReport write(Patch patch, Path folder) throws IOException {
    return write(patch, folder, ExportOptions.defaults());
  }

  /**
   * Writes a patch as an adapter, whole or not at all.
   *
   * <p>Low-rank changes keep their factors: one product as it is, several stacked, the scale in {@code lora_alpha}. Other changes of weights
   * and biases become modules saved whole ({@code modules_to_save}), for which the base is needed: PEFT replaces them.
   *
   * @param patch what to write; its models must be open
   * @param folder the folder to make
   * @throws io.portllm.IncompatibleModelException if the patch does not fit the base, or has changes that PEFT cannot hold, with each of them
   * @throws java.nio.file.FileAlreadyExistsException if the folder exists and is not to be overwritten
   * @throws java.util.concurrent.CancellationException if the write was cancelled
   * @throws IOException if reading or writing failed
   */
  public static WriteReport write(Patch patch, Path folder, ExportOptions options) throws IOException {
    if (folder.toString().endsWith(".safetensors")) {
      throw new IllegalArgumentException("an adapter is a folder, whose name must not end in .safetensors, but was " + folder.getFileName());
    }
    if (options.leftOut().isPresent()) {
      throw new IllegalArgumentException("a PEFT adapter holds weights whole where they have no factors, so no change can be left out");
    }
    return CheckpointWriter.write(AdapterExport.of(patch, options), folder, options.writing().withoutRecord());
  }
}
