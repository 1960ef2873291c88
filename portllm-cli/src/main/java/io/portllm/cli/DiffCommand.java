package io.portllm.cli;

import io.portllm.Patch;
import io.portllm.compress.Compressed;
import io.portllm.extract.Extract;
import io.portllm.io.PatchFile;
import io.portllm.io.WriteOptions;
import io.portllm.io.WriteReport;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
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

  @Option(
      names = "--exact",
      description =
          "Write every bit that changed: the patch then fits the base alone, makes the fine-tuned model bit for bit, and can be undone.")
  private boolean exact;

  @Option(
      names = "--no-sketches",
      description = "Keep no sketches of the base: 4 to 8 KB less for each of its tensors, but 'check' then needs --base.")
  private boolean noSketches;

  @Mixin private PatchOptions patchOptions;
  @Mixin private CompressOptions compressOptions;
  @Mixin private RankOptions rankOptions;
  @Mixin private CommonOptions common;

  @Override
  public Integer call() throws IOException {
    if (exact && compressOptions.areGiven()) {
      throw new ParameterException(spec.commandLine(), "--exact cannot be combined with --density, --bits or --bands");
    }
    if (rankOptions.isGiven() && (exact || compressOptions.areGiven())) {
      throw new ParameterException(spec.commandLine(), "--rank and --energy cannot be combined with --exact, --density, --bits or --bands");
    }
    return fineTuned.with(
        exact ? Patch::exact : Patch::from,
        common.mergeOptions(),
        patch -> {
          Patch chosen = patchOptions.on(patch);
          Optional<Compressed> compressed = compressOptions.on(chosen, common);
          Optional<Extract> extract = rankOptions.extract(chosen, common);
          Patch written = compressed.map(Compressed::patch).or(() -> extract.map(Extract::patch)).orElse(chosen);
          WriteReport report;
          try (ProgressLine progress = new ProgressLine("comparing")) {
            WriteOptions options = common.writeOptions(progress);
            report = PatchFile.write(written, output, noSketches ? options.withoutSketches() : options);
          }
          if (compressed.isPresent()) {
            Reports.print(spec.commandLine().getOut(), report, compressed.get(), common.json);
          } else {
            Reports.print(spec.commandLine().getOut(), report, extract, common.json);
          }
          return 0;
        });
  }
}
