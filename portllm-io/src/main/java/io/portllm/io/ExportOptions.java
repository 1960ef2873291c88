package io.portllm.io;

import io.portllm.Mismatch;
import io.portllm.ModelVersion;
import java.util.Objects;
import java.util.Optional;
import java.util.function.Consumer;

/**
 * How a patch is given to another tool. Immutable.
 */
public final class ExportOptions {
  private static final ExportOptions DEFAULTS =
      new ExportOptions(Optional.empty(), Optional.empty(), false, Optional.empty(), WriteOptions.defaults());

  private final Optional<ModelVersion> base;
  private final Optional<String> baseName;
  private final boolean trainable;
  private final Optional<Consumer<Mismatch>> leftOut;
  private final WriteOptions writing;

  private ExportOptions(
      Optional<ModelVersion> base, Optional<String> baseName, boolean trainable, Optional<Consumer<Mismatch>> leftOut, WriteOptions writing) {
    this.base = base;
    this.baseName = baseName;
    this.trainable = trainable;
    this.leftOut = leftOut;
    this.writing = writing;
  }

  /** For the model that the patch was made on, for use as it is. */
  public static ExportOptions defaults() {
    return DEFAULTS;
  }

  /**
   * These options for an adapter that will be loaded on {@code model}: the new base of a ported patch. Weights that an adapter can only
   * hold whole are this model's with the patch on them.
   *
   * @param model must be open while the patch is written
   */
  public ExportOptions onto(ModelVersion model) {
    return new ExportOptions(Optional.of(model), baseName, trainable, leftOut, writing);
  }

  /** These options with what the adapter calls the model it belongs to: a folder or the name of a repository. */
  public ExportOptions withBaseName(String name) {
    return new ExportOptions(base, Optional.of(name), trainable, leftOut, writing);
  }

  /**
   * These options for an adapter that is the start of a tune: its configuration does not say {@code inference_mode}. PEFT trains it when
   * it is loaded with {@code is_trainable=True}.
   */
  public ExportOptions trainable() {
    return new ExportOptions(base, baseName, true, leftOut, writing);
  }

  /**
   * These options for an adapter without the changes that its format cannot hold or its engine would ignore. For {@link GgufExport} alone.
   *
   * @param listener is told of each tensor whose change is left out, and why, before anything is written
   */
  public ExportOptions leavingOut(Consumer<Mismatch> listener) {
    return new ExportOptions(base, baseName, trainable, Optional.of(listener), writing);
  }

  /** These options with others for writing. */
  public ExportOptions with(WriteOptions options) {
    return new ExportOptions(base, baseName, trainable, leftOut, Objects.requireNonNull(options, "options"));
  }

  /** The model that the adapter will be loaded on, if it is not the one that the patch was made on. */
  public Optional<ModelVersion> base() {
    return base;
  }

  /** What the adapter calls that model; without it, the last part of its path. */
  public Optional<String> baseName() {
    return baseName;
  }

  /** Whether the adapter is the start of a tune. */
  public boolean isTrainable() {
    return trainable;
  }

  /** What is told of changes that are left out; without it, they are refused. */
  public Optional<Consumer<Mismatch>> leftOut() {
    return leftOut;
  }

  /** How files are written. */
  public WriteOptions writing() {
    return writing;
  }
}
