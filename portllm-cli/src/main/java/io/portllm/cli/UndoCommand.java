package io.portllm.cli;

import io.portllm.ModelVersion;
import io.portllm.io.Checkpoints;
import io.portllm.io.PatchFile;
import io.portllm.io.WriteReport;
import java.io.IOException;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code portllm undo}. */
@Command(
    name = "undo",
    description = "Takes an exact patch back: gives the base bit for bit.",
    mixinStandardHelpOptions = true)
final class UndoCommand implements Callable<Integer> {
  @Spec private CommandSpec spec;

  @Parameters(paramLabel = "OUT", description = "The model that the patch was applied to, or the fine-tuned model that it was made of.")
  private Path patched;

  @Option(names = "--patch", required = true, paramLabel = "P", description = "The patch file, written with diff --exact.")
  private Path patch;

  @Option(names = {"-o", "--output"}, required = true, paramLabel = "B", description = "The folder, .safetensors or .gguf file to make.")
  private Path output;

  @Mixin private ResumeOptions resumeOptions;
  @Mixin private CommonOptions common;

  @Override
  public Integer call() throws IOException {
    WriteReport report;
    try (PatchFile file = PatchFile.open(patch);
        ModelVersion model = Checkpoints.open(patched);
        ProgressLine progress = new ProgressLine("undoing")) {
      ModelVersion undone = file.patch().inverse().applyTo(model);
      report = Checkpoints.write(undone, output, resumeOptions.on(common.writeOptions(progress), spec, output));
    }
    Reports.print(spec.commandLine().getOut(), report, common.json);
    return 0;
  }
}
