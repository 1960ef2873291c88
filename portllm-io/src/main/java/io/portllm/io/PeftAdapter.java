package io.portllm.io;

import com.google.common.collect.Maps;
import io.portllm.Allow;
import io.portllm.Delta;
import io.portllm.FineTuned;
import io.portllm.IncompatibleModelException;
import io.portllm.MergeOptions;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.PatchBase;
import io.portllm.TokenRows;
import io.portllm.internal.patch.PatchTokens;
import io.portllm.internal.text.Names;
import io.portllm.io.internal.adapter.AdapterContents;
import io.portllm.io.internal.safetensors.SafetensorsModel;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;

/**
 * A PEFT adapter folder: {@code adapter_config.json} and {@code adapter_model.safetensors}.
 *
 * <p>Read are LoRA adapters (arXiv 2106.09685) of linear, convolution and embedding layers, with per-layer ranks and alphas, rsLoRA,
 * {@code fan_in_fan_out}, biases, modules saved whole and trained token rows, with DoRA or without; and the
 * kinds that {@code docs/reference/adapters.md} lists. Every other kind is refused by name.
 *
 * <p>Immutable, and safe for use by many threads until closed.
 */
public final class PeftAdapter implements FineTuned, AutoCloseable {
  private final Path folder;
  private final SafetensorsModel tensors;
  private final AdapterContents contents;

  private PeftAdapter(Path folder, SafetensorsModel tensors, AdapterContents contents) {
    this.folder = folder;
    this.tensors = tensors;
    this.contents = contents;
  }

  /**
   * Opens an adapter, reading and checking all of it.
   *
   * @return the adapter; the caller closes it
   * @throws MalformedModelException if it breaks a rule of its format, or is of a kind that is not read
   * @throws IOException if reading failed
   */
  public static PeftAdapter open(Path folder) throws IOException {
    AdapterContents.checkKind(folder);
    Path file = folder.resolve("adapter_model.safetensors");
    if (!Files.exists(file)) {
      throw new MalformedModelException(file, "AD-MODEL", -1, missing(folder));
    }
    SafetensorsModel tensors = openTensors(file);
    try {
      return new PeftAdapter(folder, tensors, AdapterContents.read(folder, file, tensors));
    } catch (IOException | RuntimeException e) {
      tensors.close();
      throw e;
    }
  }

  private static SafetensorsModel openTensors(Path file) throws IOException {
    try {
      return SafetensorsModel.openFile(file);
    } catch (MalformedModelException e) {
      String message = e.getMessage();
      String why = "is no whole safetensors file: " + message.substring(message.indexOf("] ") + 2);
      MalformedModelException refusal = new MalformedModelException(file, "AD-MODEL", e.offset(), why);
      refusal.initCause(e);
      throw refusal;
    }
  }

  private static String missing(Path folder) {
    return Files.exists(folder.resolve("adapter_model.bin"))
        ? "does not exist; adapter_model.bin beside it is a pickle, which is not read"
        : "does not exist";
  }

  /** Whether {@code folder} looks like an adapter: it holds an {@code adapter_config.json}. */
  public static boolean isAdapter(Path folder) {
    return Files.isRegularFile(folder.resolve("adapter_config.json"));
  }

  /** The path of the folder. */
  @Override
  public String name() {
    return folder.toString();
  }

  /**
   * The adapter's changes where its base is not at hand: rows of embedding and head stand for the tokens of the adapter's
   * {@code tokenizer.json}, if it has one; modules, biases and token rows that are saved whole replace the new base's.
   *
   * @return a patch that is usable while this adapter is open
   * @throws IncompatibleModelException if the adapter stores copies of embeddings, of which only the base tells whether they changed, or
   *     if its changes depend on the base's weights
   */
  public Patch patch() {
    return patch(MergeOptions.defaults());
  }

  /**
   * The adapter's changes where its base is not at hand, with a policy for changes that depend on the base's weights. Kinds that multiply
   * weights need a base all the same, which tells their shape; to evaluate them on the new base alone, give that one to {@link Patch#from}.
   *
   * @return a patch that is usable while this adapter is open
   * @throws IncompatibleModelException if only the base tells what the adapter changes, or by how much
   */
  public Patch patch(MergeOptions options) {
    Patch patch = Patch.of(deltas(options), Optional.empty(), Names.last(name()));
    return options.allows(Allow.ROWS_BY_INDEX) || !PatchTokens.changesRows(patch) ? patch : patch.withTokens(tokens());
  }

  private TokenRows tokens() {
    try {
      return contents.tokens();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private Map<String, Delta> deltas(MergeOptions options) {
    try {
      return contents.deltas(options);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /**
   * The adapter's changes against its base: modules, biases and token rows that are saved whole count as their difference from the
   * base's, so that what the new base changed in them is kept. Changes that depend on weights follow {@link MergeOptions#basePolicy}.
   *
   * @return a patch that is usable while this adapter and its base are open
   * @throws IncompatibleModelException if the adapter does not fit its base, with every mismatch
   */
  @Override
  public Patch changesFrom(ModelVersion stored, MergeOptions options) {
    ModelVersion base = stored.decoded();
    AdapterContents.Changes found = changes(base, options);
    Map<String, Delta> deltas = found.deltas();
    // An adapter that does not fit the base it claims is refused here, not first on the new base. Modules that it adds fit any base.
    Map<String, Delta> changes =
        Maps.filterEntries(deltas, entry -> base.find(entry.getKey()).isPresent() || !(entry.getValue() instanceof Delta.Replacement));
    Patch.of(changes, Optional.empty(), Names.last(name())).withTokens(found.rows()).applyTo(base, options);
    return Patch.of(deltas, Optional.of(PatchBase.of(base)), Names.last(name())).withTokens(found.rows());
  }

  private AdapterContents.Changes changes(ModelVersion base, MergeOptions options) {
    try {
      return contents.deltas(base, options);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Closes the weight file. */
  @Override
  public void close() throws IOException {
    tensors.close();
  }
}
