package io.portllm.cli;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.portllm.io.Verification;
import io.portllm.io.WriteOptions;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code portllm verify}. */
@Command(
    name = "verify",
    description = "Compares a model with the record that was written with it, every file and every tensor.",
    mixinStandardHelpOptions = true,
    footer = {"", "Exit codes: 0 all is as it was written, 3 something differs, 1 it cannot be told, 2 wrong usage."})
final class VerifyCommand implements Callable<Integer> {
  private static final int DIFFERS = 3;

  @Spec private CommandSpec spec;

  @Parameters(paramLabel = "OUT", description = "The folder, .safetensors or .gguf file that this program wrote.")
  private Path output;

  @Option(names = "--json", description = "Print as JSON, with the record.")
  private boolean json;

  @Option(names = "--threads", paramLabel = "N", description = "Working threads. Default: one for each processor.")
  private Integer threads;

  @Override
  public Integer call() throws IOException {
    Verification found;
    try (ProgressLine progress = new ProgressLine("verifying")) {
      WriteOptions options = WriteOptions.defaults().withProgress(progress).cancelledWhen(Interruption::isRequested);
      found = Verification.of(output, threads == null ? options : options.withThreads(threads));
    }
    PrintWriter out = spec.commandLine().getOut();
    if (json) {
      ObjectMapper mapper = new ObjectMapper();
      ObjectNode root = mapper.createObjectNode().put("output", output.toString()).put("holds", found.holds());
      root.put("fingerprint", found.fingerprint());
      found.differences().forEach(root.putArray("differences")::add);
      root.set("record", mapper.readTree(found.record()));
      out.println(mapper.writerWithDefaultPrettyPrinter().writeValueAsString(root));
    } else if (found.holds()) {
      out.printf("%s is as it was written, fingerprint %s%n", output, found.fingerprint());
    } else {
      out.printf("%s differs from what was written:%n", output);
      found.differences().forEach(line -> out.println("  " + line));
    }
    out.flush();
    return found.holds() ? 0 : DIFFERS;
  }
}
