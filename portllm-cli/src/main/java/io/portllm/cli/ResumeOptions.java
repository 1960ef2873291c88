package io.portllm.cli;

import io.portllm.io.WriteOptions;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParseResult;

/** The option of commands that write models of several files. */
final class ResumeOptions {
  /** Options that no byte of a weight file depends on. */
  private static final Set<String> OTHERS = Set.of("--output", "--threads", "--json", "--force", "--no-record", "--resume");

  @Option(
      names = "--resume",
      description = "Keep finished weight files if the command is killed or fails, and take over those that an earlier such run "
          + "of the same command left, if its inputs are as they were. Only for outputs that are folders.")
  private boolean resume;

  /** {@code options} for the command that was parsed by {@code spec}, if it is to be resumable. */
  WriteOptions on(WriteOptions options, CommandSpec spec, Path output) {
    if (!resume) {
      return options;
    }
    if (output.toString().endsWith(".safetensors") || output.toString().endsWith(".gguf")) {
      throw new IllegalArgumentException("--resume means nothing to an output of one file, [" + output + "]");
    }
    ParseResult parsed = spec.commandLine().getParseResult();
    TreeSet<String> work = new TreeSet<>();
    List<Path> inputs = new ArrayList<>();
    for (OptionSpec option : parsed.matchedOptions()) {
      if (!OTHERS.contains(option.longestName())) {
        work.add(option.longestName() + " " + option.originalStringValues());
        addPaths(option, inputs);
      }
    }
    for (ArgSpec positional : parsed.matchedPositionals()) {
      work.add(positional.paramLabel() + " " + positional.originalStringValues());
      addPaths(positional, inputs);
    }
    return options.resuming(spec.name() + " " + work, inputs.toArray(Path[]::new));
  }

  private static void addPaths(ArgSpec argument, List<Path> inputs) {
    for (String value : argument.originalStringValues()) {
      try {
        Path path = Path.of(value);
        if (Files.exists(path)) {
          inputs.add(path);
        }
      } catch (InvalidPathException e) {
        // A pattern or number, not a path.
        continue;
      }
    }
  }
}
