package io.portllm.cli;

import io.portllm.MergeOptions;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.TokenReport;
import io.portllm.io.Checkpoints;
import io.portllm.io.WriteReport;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code portllm port}. */
@Command(
    name = "port",
    description = "Puts what fine-tuning changed in the base onto a new base, in one pass.",
    mixinStandardHelpOptions = true)
final class PortCommand implements Callable<Integer> {
  @Spec private CommandSpec spec;
  @Mixin private FineTunedOptions fineTuned;

  @Option(names = "--onto", required = true, paramLabel = "N", description = "The new base.")
  private Path onto;

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
    return fineTuned.with(
        options,
        patch -> {
          WriteReport report;
          Optional<TokenReport> tokens;
          try (ModelVersion newBase = Checkpoints.open(onto)) {
            Patch chosen = patchOptions.on(patch);
            tokens = common.tokens(chosen, newBase);
            ModelVersion ported = chosen.applyTo(newBase, ggufOptions.on(options));
            ggufOptions.prove(newBase, common);
            try (ProgressLine progress = new ProgressLine("porting")) {
              report = Checkpoints.write(ported, output, resumeOptions.on(common.writeOptions(progress), spec, output));
            }
          }
          Reports.printPort(spec.commandLine().getOut(), report, tokens, common.json);
          return 0;
        });
  }
}
