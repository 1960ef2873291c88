package io.portllm.io;

import io.portllm.FineTuned;
import io.portllm.MergeOptions;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import java.io.IOException;
import java.nio.file.Path;

/** A PEFT adapter folder: {@code adapter_config.json} and {@code adapter_model.safetensors}. */
public final class PeftAdapter implements FineTuned, AutoCloseable {
  /** Opens and checks an adapter. */
  public static PeftAdapter open(Path folder) throws IOException {
    throw new IllegalStateException();
  }

  @Override
  public String name() {
    throw new IllegalStateException();
  }

  /** The adapter's changes without knowing the base. */
  public Patch patch() {
    throw new IllegalStateException();
  }

  @Override
  public Patch changesFrom(ModelVersion base, MergeOptions options) {
    throw new IllegalStateException();
  }

  @Override
  public void close() throws IOException {}
}
