package io.portllm.io;

import io.portllm.Patch;
import io.portllm.io.internal.gguf.GgufModel;
import io.portllm.io.internal.gguf.lora.LoraExport;
import io.portllm.io.internal.write.CheckpointWriter;
import java.io.IOException;
import java.nio.file.Path;

/**
 * Writes patches as LoRA adapters in llama.cpp's format, as {@code convert_lora_to_gguf.py} does of PEFT adapters.
 * {@code docs/reference/gguf-architectures.md} lists the architectures.
 */
public final class GgufExport {
  private GgufExport() {}

  /**
   * Writes a patch as a GGUF adapter, whole or not at all.
   *
   * <p>Low-rank changes keep their factors, in float32 and with their rows in the order of the GGUF tensors; several products of one
   * tensor are stacked. A scale that all have is in the file's alpha; other scales are multiplied into B. What llama.cpp would ignore or
   * could not apply (changes without factors, norms, biases, embeddings that are heads too) is refused unless
   * {@link ExportOptions#leavingOut} allows it.
   *
   * @param patch what to write; its models must be open. It must have been made on {@link ExportOptions#base}, or that one must be like
   *     it: a GGUF file, or a Hugging Face checkpoint
   * @param file the file to make; its name ends in {@code .gguf}
   * @throws io.portllm.IncompatibleModelException if the patch does not fit the base, or llama.cpp could not apply all of it, with each
   *     change
   * @throws IllegalStateException if there is no base, or the patch has no low-rank change
   * @throws java.nio.file.FileAlreadyExistsException if the file exists and is not to be overwritten
   * @throws java.util.concurrent.CancellationException if the write was cancelled
   * @throws IOException if reading or writing failed
   */
  public static WriteReport write(Patch patch, Path file, ExportOptions options) throws IOException {
    if (!file.toString().endsWith(GgufModel.ENDING)) {
      throw new IllegalArgumentException("the name of a GGUF adapter must end in .gguf, but was " + file.getFileName());
    }
    if (options.isTrainable()) {
      throw new IllegalArgumentException("a GGUF adapter is not for training");
    }
    return CheckpointWriter.write(LoraExport.of(patch, options), file, options.writing().withoutRecord());
  }
}
