package io.portllm.cli;

import io.portllm.Patch;
import io.portllm.extract.Extract;
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
import picocli.CommandLine.Spec;

/** {@code portllm diff}. */
@Command(
    name = "diff",
    description = "Writes what fine-tuning changed in the base to a patch file.",
    mixinStandardHelpOptions = true)
final class DiffCommand implements Callable<Integer> {
  @Spec private CommandSpec spec;
  @Mixin private FineTunedOptions fineTuned;

  @Option(names = {"-o", "--output"}, required = true, paramLabel = "P", description = "The file to make, such as clinic.patch.safetensors.")
  private Path output;

  @Mixin private PatchOptions patchOptions;
  @Mixin private RankOptions rankOptions;
  @Mixin private CommonOptions common;

  @Override
  public Integer call() throws IOException {
    return fineTuned.with(
        common.mergeOptions(),
        patch -> {
          Optional<Extract> extract = rankOptions.extract(patchOptions.on(patch), common);
          WriteReport report;
          try (ProgressLine progress = new ProgressLine("comparing")) {
            Patch written = extract.map(Extract::patch).orElseGet(() -> patchOptions.on(patch));
            report = PatchFile.write(written, output, common.writeOptions(progress));
          }
          Reports.print(spec.commandLine().getOut(), report, extract, common.json);
          return 0;
        });
  }
}
