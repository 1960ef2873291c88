package io.portllm.cli;

import io.portllm.FineTuned;
import io.portllm.MergeOptions;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.io.Checkpoints;
import java.io.IOException;
import java.nio.file.Path;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Option;

/** The fine-tuned model, as all weights or as an adapter, and its base. */
final class FineTunedOptions {
  @ArgGroup(multiplicity = "1")
  private Form form;

  @Option(names = "--base", required = true, paramLabel = "B", description = "The model that was tuned.")
  private Path base;

  private static final class Form {
    @Option(names = "--fine-tuned", required = true, paramLabel = "FT", description = "The fine-tuned model.")
    private Path fineTuned;

    @Option(names = "--adapter", required = true, paramLabel = "A", description = "The " + Adapter.FORMS + ", instead of a fine-tuned model.")
    private Path adapter;
  }

  /** What to do with a patch whose models are open. */
  interface PatchUser {
    int use(Patch patch) throws IOException;
  }

  /** How a patch is made of the two. */
  interface PatchMaker {
    Patch make(FineTuned fineTuned, ModelVersion base, MergeOptions options);
  }

  /** Opens both models, makes the patch, and closes them after its use. */
  int with(MergeOptions options, PatchUser user) throws IOException {
    return with(Patch::from, options, user);
  }

  /** Opens both models, makes the patch in this way, and closes them after its use. */
  int with(PatchMaker maker, MergeOptions options, PatchUser user) throws IOException {
    try (ModelVersion baseModel = Checkpoints.open(base)) {
      if (form.adapter != null) {
        try (Adapter adapter = Adapter.open(form.adapter)) {
          return user.use(maker.make(adapter.fineTuned(), baseModel, options));
        }
      }
      try (ModelVersion fineTuned = Checkpoints.open(form.fineTuned)) {
        return user.use(maker.make(fineTuned, baseModel, options));
      }
    }
  }
}
