package io.portllm.cli;

import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.extract.Extract;
import io.portllm.io.Checkpoints;
import io.portllm.io.ExportOptions;
import io.portllm.io.GgufExport;
import io.portllm.io.PatchFile;
import io.portllm.io.PeftExport;
import io.portllm.io.WriteReport;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code portllm export}. */
@Command(
    name = "export",
    description = "Gives a patch file or an adapter to another tool.",
    mixinStandardHelpOptions = true)
final class ExportCommand implements Callable<Integer> {
  /** The forms that a patch can be given in. */
  private enum Format {
    /** A PEFT LoRA adapter. */
    PEFT("peft"),
    /** A LoRA adapter in llama.cpp's format. */
    GGUF_LORA("gguf-lora");

    private final String option;

    Format(String option) {
      this.option = option;
    }

    @Override
    public String toString() {
      return option;
    }
  }

  @Spec private CommandSpec spec;

  @Parameters(paramLabel = "P", description = "The patch file, " + Adapter.FORMS + ".")
  private Path patch;

  @Option(
      names = "--format",
      required = true,
      paramLabel = "FORMAT",
      description = "peft: a LoRA adapter folder; gguf-lora: a LoRA adapter file for llama.cpp.")
  private Format format;

  @Option(names = {"-o", "--output"}, required = true, paramLabel = "OUT", description = "The folder or .gguf file to make.")
  private Path output;

  @Option(
      names = "--base",
      paramLabel = "B",
      description =
          "The model that the adapter will be loaded on: the old base, or the new one of a ported patch. Needed for gguf-lora, of and to GGUF adapters, "
              + "and for changes that are not low-rank.")
  private Path base;

  @Option(names = "--base-name", paramLabel = "NAME", description = "What the adapter calls that model. Default: the name of the folder.")
  private String baseName;

  @Option(names = "--trainable", description = "Write an adapter to be trained further (inference_mode false).")
  private boolean trainable;

  @Option(
      names = "--leave-out",
      description = "gguf-lora: leave out the changes that llama.cpp would not apply, and list them. Default: refuse.")
  private boolean leaveOut;

  @Mixin private PatchOptions patchOptions;
  @Mixin private RankOptions rankOptions;
  @Mixin private CommonOptions common;

  @Override
  public Integer call() throws IOException {
    if (base == null) {
      return open(ExportOptions.defaults());
    }
    try (ModelVersion model = Checkpoints.open(base)) {
      return open(ExportOptions.defaults().onto(model));
    }
  }

  private int open(ExportOptions options) throws IOException {
    if (!Adapter.is(patch)) {
      try (PatchFile file = PatchFile.open(patch)) {
        return export(file.patch(), options);
      }
    }
    try (Adapter adapter = Adapter.open(patch)) {
      return export(
          options.base().isPresent()
              ? Patch.from(adapter.fineTuned(), options.base().get(), common.mergeOptions())
              : adapter.patch(Optional.empty(), common.mergeOptions()),
          options);
    }
  }

  private int export(Patch opened, ExportOptions onto) throws IOException {
    Patch chosen = patchOptions.on(opened);
    Optional<Extract> extract = rankOptions.extract(chosen, common);
    WriteReport report;
    try (ProgressLine progress = new ProgressLine("exporting")) {
      ExportOptions options = onto.with(common.writeOptions(progress));
      options = baseName == null ? options : options.withBaseName(baseName);
      options = trainable ? options.trainable() : options;
      options = leaveOut ? options.leavingOut(mismatch -> spec.commandLine().getErr().println("left out: " + mismatch)) : options;
      Patch exported = extract.map(Extract::patch).orElse(chosen);
      report = format == Format.PEFT ? PeftExport.write(exported, output, options) : GgufExport.write(exported, output, options);
    }
    Reports.print(spec.commandLine().getOut(), report, extract, common.json);
    return 0;
  }
}
