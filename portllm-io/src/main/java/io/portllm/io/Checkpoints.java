package io.portllm.io;

import io.portllm.ModelVersion;
import io.portllm.internal.text.Names;
import io.portllm.io.internal.gguf.GgufModel;
import io.portllm.io.internal.safetensors.SafetensorsModel;
import io.portllm.io.internal.write.CheckpointWriter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * Opens and writes checkpoints in safetensors and GGUF form.
 */
public final class Checkpoints {
  private Checkpoints() {}

  /**
   * Opens a model: a folder as Hugging Face writes it (a snapshot of the hub's cache too), a single {@code .safetensors} file, or a GGUF
   * file. Reads and checks all headers.
   *
   * <p>Of a folder, {@code model.safetensors} is read if it is there, as transformers does; otherwise the shards of
   * {@code model.safetensors.index.json}, in the order of their names; otherwise the one {@code .safetensors} file. Its other
   * files, and those of the folders directly in it, are the model's side files, except hidden ones, weights in other formats and
   * indexes. Symbolic links are followed within the folder, and from a snapshot into its repository's {@code blobs}; others are
   * refused. A single file has no configuration and no side files.
   *
   * <p>A file is read as GGUF if its name ends in {@code .gguf}, or if it begins as such files do and its name does not end in
   * {@code .safetensors}. Any file of a split model ({@code PREFIX-00001-of-00003.gguf}) stands for all of them. A folder without
   * safetensors files that holds one GGUF model is that model. Tensors of a GGUF model have the names of the file and torch's shapes.
   *
   * @return the model; the caller closes it
   * @throws MalformedModelException if a file breaks a rule of its format
   * @throws IOException if reading failed
   */
  public static ModelVersion open(Path path) throws IOException {
    if (Files.isDirectory(path)) {
      return GgufModel.isIn(path) ? GgufModel.openFolder(path) : SafetensorsModel.openFolder(path);
    }
    return GgufModel.is(path) ? GgufModel.openFile(path) : SafetensorsModel.openFile(path);
  }

  /** Writes a model with default options. */
  public static WriteReport write(ModelVersion model, Path output) throws IOException {
    return write(model, output, WriteOptions.defaults());
  }

  /**
   * Writes a model, whole or not at all, in the format of its files: a GGUF model with the version, alignment and metadata that it has, a
   * split one as a folder of its files.
   *
   * @param model what to write; computed as it is written if it is a patched version
   * @param output the folder to make, or, if the name ends in {@code .safetensors} or {@code .gguf}, the single file
   * @return what was written, with what rounding did
   * @throws java.nio.file.FileAlreadyExistsException if the output exists and is not to be overwritten
   * @throws io.portllm.IncompatibleModelException if weights overflow or become infinite or NaN and that is not allowed
   * @throws java.util.concurrent.CancellationException if the write was cancelled
   * @throws IOException if reading or writing failed
   */
  public static WriteReport write(ModelVersion model, Path output, WriteOptions options) throws IOException {
    return CheckpointWriter.write(model, output, options);
  }

  /**
   * Compares a GGUF model with the Hugging Face checkpoint that it was converted from, weight by weight. It proves that patches made for the
   * checkpoint change the weights of the GGUF model that they are meant for.
   *
   * @param model a GGUF model
   * @param original the checkpoint
   * @param options how many threads compare, who is told of progress, and who may cancel
   * @throws io.portllm.IncompatibleModelException if it is not known how models of this architecture are converted, or naming the first tensor
   *     whose values are further from the checkpoint's than its type explains
   * @throws java.util.concurrent.CancellationException if it was cancelled
   * @throws IOException if reading failed
   */
  public static void proveConversion(ModelVersion model, ModelVersion original, WriteOptions options) throws IOException {
    if (!(model instanceof GgufModel gguf)) {
      throw new IllegalArgumentException(Names.quote(model.name()) + " is no GGUF model: only those are converted from others");
    }
    gguf.lens().prove(original, options);
  }
}
