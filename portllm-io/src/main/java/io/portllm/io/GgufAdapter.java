package io.portllm.io;

import io.portllm.Delta;
import io.portllm.FineTuned;
import io.portllm.IncompatibleModelException;
import io.portllm.MergeOptions;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.PatchBase;
import io.portllm.internal.text.Names;
import io.portllm.io.internal.gguf.GgufModel;
import io.portllm.io.internal.gguf.lora.AdaptedModel;
import io.portllm.io.internal.gguf.lora.LoraDeltas;
import io.portllm.io.internal.gguf.lora.LoraFile;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;

/**
 * A LoRA adapter in llama.cpp's format: a GGUF file of factors ({@code .lora_a}, {@code .lora_b}), as {@code convert_lora_to_gguf.py}
 * writes it.
 *
 * <p>Its tensors have GGUF's names and order of rows, so a model is needed to make a patch of it: a GGUF file, or a Hugging Face
 * checkpoint of an architecture that {@code docs/reference/gguf-architectures.md} lists. The patch has the names by which patches know that
 * model's tensors. The scale is alpha / rank, as in llama.cpp, and 1 if alpha is 0. Norms that the adapter holds whole, which llama.cpp
 * ignores, are part of the patch.
 *
 * <p>Immutable, and safe for use by many threads until closed.
 */
public final class GgufAdapter implements FineTuned, AutoCloseable {
  private final GgufModel tensors;
  private final LoraFile contents;

  private GgufAdapter(GgufModel tensors, LoraFile contents) {
    this.tensors = tensors;
    this.contents = contents;
  }

  /**
   * Opens an adapter, reading and checking its header.
   *
   * @return the adapter; the caller closes it
   * @throws MalformedModelException if it breaks a rule of its format, or is of a kind that is not read
   * @throws IOException if reading failed
   */
  public static GgufAdapter open(Path file) throws IOException {
    GgufModel tensors = GgufModel.openFile(file);
    try {
      return new GgufAdapter(tensors, LoraFile.read(tensors));
    } catch (IOException | RuntimeException e) {
      tensors.close();
      throw e;
    }
  }

  /** The path of the file. */
  @Override
  public String name() {
    return tensors.name();
  }

  /**
   * The adapter's changes for a model of the kind that it was trained on, where that one is not at hand: norms that it holds whole replace
   * the model's.
   *
   * @param model tells the names and order of rows; must stay open as long as the patch is used
   * @return a patch that is usable while this adapter is open
   * @throws IncompatibleModelException if the adapter does not fit the model, with every mismatch
   */
  public Patch patchFor(ModelVersion model) {
    try {
      return Patch.of(LoraDeltas.of(contents, AdaptedModel.of(model), name(), false), Optional.empty(), Names.last(name()));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /**
   * The adapter's changes against its base: norms that it holds whole count as their difference from the base's, so that what the new base
   * changed in them is kept.
   *
   * @return a patch that is usable while this adapter and its base are open
   * @throws IncompatibleModelException if the adapter does not fit its base, with every mismatch
   */
  @Override
  public Patch changesFrom(ModelVersion base, MergeOptions options) {
    try {
      AdaptedModel model = AdaptedModel.of(base);
      Map<String, Delta> deltas = LoraDeltas.of(contents, model, name(), true);
      return Patch.of(deltas, Optional.of(PatchBase.of(model.decoded())), Names.last(name()));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Closes the file. */
  @Override
  public void close() throws IOException {
    tensors.close();
  }
}
