package io.portllm.cli;

import io.portllm.Patch;
import io.portllm.compress.Compressed;
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
  @Mixin private CompressOptions compressOptions;
  @Mixin private CommonOptions common;

  @Override
  public Integer call() throws IOException {
    return fineTuned.with(
        common.mergeOptions(),
        patch -> {
          Patch chosen = patchOptions.on(patch);
          Optional<Compressed> compressed = compressOptions.on(chosen, common);
          WriteReport report;
          try (ProgressLine progress = new ProgressLine("comparing")) {
            report = PatchFile.write(compressed.map(Compressed::patch).orElse(chosen), output, common.writeOptions(progress));
          }
          if (compressed.isPresent()) {
            Reports.print(spec.commandLine().getOut(), report, compressed.get(), common.json);
          } else {
            Reports.print(spec.commandLine().getOut(), report, common.json);
          }
          return 0;
        });
  }
}
