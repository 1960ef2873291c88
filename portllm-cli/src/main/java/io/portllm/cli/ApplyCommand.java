package io.portllm.cli;

import io.portllm.MergeOptions;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.TokenReport;
import io.portllm.io.Checkpoints;
import io.portllm.io.PatchFile;
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

/** {@code portllm apply}. */
@Command(
    name = "apply",
    description = "Puts a patch file or an adapter onto a new base.",
    mixinStandardHelpOptions = true)
final class ApplyCommand implements Callable<Integer> {
  @Spec private CommandSpec spec;

  @Parameters(paramLabel = "P", description = "The patch file, " + Adapter.FORMS + ".")
  private Path patch;

  @Option(names = "--to", required = true, paramLabel = "N", description = "The new base.")
  private Path to;

  @Option(
      names = "--base",
      paramLabel = "B",
      description = "The model that the adapter was trained on. With it, modules that the adapter stores whole count as their difference from the base's.")
  private Path base;

  @Option(names = {"-o", "--output"}, required = true, paramLabel = "OUT", description = "The folder, .safetensors or .gguf file to make.")
  private Path output;

  @Mixin private PatchOptions patchOptions;
  @Mixin private GgufOptions ggufOptions;
  @Mixin private DeviceOption device;
  @Mixin private ResumeOptions resumeOptions;
  @Mixin private CommonOptions common;

  @Override
  public Integer call() throws IOException {
    MergeOptions options = device.on(common.mergeOptions());
    if (!Adapter.is(patch)) {
      if (base != null) {
        throw new IllegalArgumentException("--base belongs to an adapter, but [" + patch + "] is a patch file");
      }
      try (PatchFile file = PatchFile.open(patch); ModelVersion newBase = Checkpoints.open(to)) {
        return apply(file.patch(), newBase, options);
      }
    }
    try (Adapter adapter = Adapter.open(patch); ModelVersion newBase = Checkpoints.open(to)) {
      if (base == null) {
        return apply(adapter.patch(Optional.of(newBase), options), newBase, options);
      }
      try (ModelVersion baseModel = Checkpoints.open(base)) {
        return apply(Patch.from(adapter.fineTuned(), baseModel, options), newBase, options);
      }
    }
  }

  private int apply(Patch opened, ModelVersion newBase, MergeOptions options) throws IOException {
    WriteReport report;
    Patch chosen = patchOptions.on(opened);
    Optional<TokenReport> tokens = common.tokens(chosen, newBase);
    ModelVersion ported = chosen.applyTo(newBase, ggufOptions.on(options));
    ggufOptions.prove(newBase, common);
    try (ProgressLine progress = new ProgressLine("applying")) {
      report = Checkpoints.write(ported, output, resumeOptions.on(common.writeOptions(progress), spec, output));
    }
    Reports.printPort(spec.commandLine().getOut(), report, tokens, common.json);
    return 0;
  }
}
