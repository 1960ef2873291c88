package io.portllm.cli;

import io.portllm.FineTuned;
import io.portllm.MergeOptions;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.io.GgufAdapter;
import io.portllm.io.PeftAdapter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/** An adapter in either of its forms, a PEFT folder or a GGUF file. */
final class Adapter implements AutoCloseable {
  /** What a path of an adapter is called in help. */
  static final String FORMS = "PEFT adapter folder or GGUF adapter file";

  private final FineTuned adapter;

  private Adapter(FineTuned adapter) {
    this.adapter = adapter;
  }

  /** Whether a path that names a patch or an adapter names an adapter. */
  static boolean is(Path path) {
    return Files.isDirectory(path) || isGguf(path);
  }

  /** Whether a path names a GGUF adapter. */
  static boolean isGguf(Path path) {
    return path.toString().endsWith(".gguf");
  }

  static Adapter open(Path path) throws IOException {
    return new Adapter(isGguf(path) ? GgufAdapter.open(path) : PeftAdapter.open(path));
  }

  /** The adapter. */
  FineTuned fineTuned() {
    return adapter;
  }

  /**
   * Its changes where its base is not at hand.
   *
   * @param model one like its base, which a GGUF adapter needs
   */
  Patch patch(Optional<ModelVersion> model, MergeOptions options) {
    if (adapter instanceof PeftAdapter peft) {
      return peft.patch(options);
    }
    return ((GgufAdapter) adapter).patchFor(model.orElseThrow(
        () -> new IllegalArgumentException("[" + adapter.name() + "] is a GGUF adapter, which needs its base: name it with --base")));
  }

  @Override
  public void close() throws IOException {
    if (adapter instanceof GgufAdapter gguf) {
      gguf.close();
    } else {
      ((PeftAdapter) adapter).close();
    }
  }
}
