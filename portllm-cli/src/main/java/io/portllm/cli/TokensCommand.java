package io.portllm.cli;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.portllm.ModelVersion;
import io.portllm.TokenReport;
import io.portllm.Vocabulary;
import io.portllm.io.Checkpoints;
import io.portllm.io.PatchFile;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code portllm tokens}. */
@Command(
    name = "tokens",
    description = "Says which tokens two vocabularies have in common, and which moved, or are in one only.",
    mixinStandardHelpOptions = true)
final class TokensCommand implements Callable<Integer> {
  @Spec private CommandSpec spec;

  @Parameters(index = "0", paramLabel = "A", description = "A model, or a patch file that changes embeddings.")
  private Path first;

  @Parameters(index = "1", paramLabel = "B", description = "Another.")
  private Path second;

  @Option(names = "--json", description = "Print as JSON.")
  private boolean json;

  @Override
  public Integer call() throws IOException {
    TokenReport report = TokenReport.between(vocabulary(first), vocabulary(second));
    PrintWriter out = spec.commandLine().getOut();
    if (json) {
      ObjectNode root = new ObjectMapper().createObjectNode();
      Reports.put(root, report);
      out.println(new ObjectMapper().writerWithDefaultPrettyPrinter().writeValueAsString(root));
      out.flush();
    } else {
      Reports.print(out, report, first.toString(), second.toString());
    }
    return 0;
  }

  private static Vocabulary vocabulary(Path path) throws IOException {
    Vocabulary vocabulary;
    if (!Files.isDirectory(path) && path.toString().endsWith(".safetensors") && PatchFile.isPatch(path)) {
      try (PatchFile file = PatchFile.open(path)) {
        vocabulary = file.patch().tokens().tokens();
      }
    } else {
      try (ModelVersion model = Checkpoints.open(path)) {
        vocabulary = model.vocabulary();
      }
    }
    if (vocabulary.isEmpty()) {
      throw new IOException("[" + path + "] does not say which tokens its rows stand for");
    }
    return vocabulary;
  }
}
