package io.portllm.cli;

import com.google.common.collect.ImmutableMap;
import io.portllm.IncompatibleModelException;
import io.portllm.cli.demo.DemoCommand;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CancellationException;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.IParameterExceptionHandler;

/** Ports a fine-tune of a language model to a newer release of that model. */
@Command(
    name = "portllm",
    description = "Ports a fine-tune of a language model to a newer release of that model.",
    synopsisSubcommandLabel = "COMMAND",
    versionProvider = Main.Version.class,
    mixinStandardHelpOptions = true,
    footer = {
      "",
      "Models are folders as Hugging Face writes them, or single .safetensors or .gguf files;",
      "hf:org/name and hf:org/name@revision are those that Hugging Face's tools have downloaded.",
      "Exit codes: 0 done, 1 refused or failed (one line on standard error says why), 2 wrong usage."
    })
public final class Main {
  private static final ImmutableMap<String, Class<?>> COMMANDS =
      ImmutableMap.<String, Class<?>>builder()
          .put("port", PortCommand.class)
          .put("diff", DiffCommand.class)
          .put("apply", ApplyCommand.class)
          .put("undo", UndoCommand.class)
          .put("merge", MergeCommand.class)
          .put("export", ExportCommand.class)
          .put("check", CheckCommand.class)
          .put("info", InfoCommand.class)
          .put("tokens", TokensCommand.class)
          .put("verify", VerifyCommand.class)
          .put("demo", DemoCommand.class)
          .buildOrThrow();

  private Main() {}

  /** Runs the command and ends the JVM with its exit code. */
  public static void main(String[] arguments) {
    Interruption.listen();
    int exitCode = commandLine(arguments).execute(arguments);
    Interruption.done();
    System.exit(exitCode);
  }

  /** Understands {@code arguments}: of all commands, only the one that they start with is taken up, since reading each by reflection takes time. */
  static CommandLine commandLine(String... arguments) {
    CommandLine line = new CommandLine(new Main());
    Class<?> named = arguments.length == 0 ? null : COMMANDS.get(arguments[0]);
    (named == null ? COMMANDS.values() : List.of(named)).forEach(line::addSubcommand);
    IParameterExceptionHandler misuse = line.getParameterExceptionHandler();
    return line
        .registerConverter(Path.class, new HubPath())
        .setExecutionStrategy(
            parsed -> {
              HubPath.refuseAsOutput(parsed);
              return new CommandLine.RunLast().execute(parsed);
            })
        .setParameterExceptionHandler(
            (failure, given) -> {
              if (failure.getCause() instanceof IOException e) {
                // A model that is not in the cache is no misuse.
                failure.getCommandLine().getErr().println("portllm: " + oneLine(e));
                return CommandLine.ExitCode.SOFTWARE;
              }
              return misuse.handleParseException(failure, given);
            })
        .setExecutionExceptionHandler(
            (failure, command, parsed) -> {
              command.getErr().println("portllm: " + oneLine(failure));
              return failure instanceof IllegalArgumentException ? CommandLine.ExitCode.USAGE : CommandLine.ExitCode.SOFTWARE;
            });
  }

  /** What went wrong, in one line. */
  private static String oneLine(Exception failure) {
    if (failure instanceof UncheckedIOException e) {
      return oneLine(e.getCause());
    }
    String message = failure.getMessage();
    if (failure instanceof NoSuchFileException e && e.getReason() == null) {
      message = "[" + e.getFile() + "] does not exist";
    } else if (failure instanceof FileSystemException e) {
      String kind = e instanceof FileAlreadyExistsException ? " (--force overwrites)" : "";
      boolean overwritable = e.getReason() != null && e.getReason().contains("not to be overwritten");
      message = "[" + e.getFile() + "] " + (e.getReason() == null ? e.getClass().getSimpleName() : e.getReason()) + (overwritable ? kind : "");
    } else if (failure instanceof CancellationException) {
      message = "cancelled";
    } else if (!(failure instanceof IOException
        || failure instanceof IncompatibleModelException
        || failure instanceof IllegalArgumentException
        || failure instanceof IllegalStateException)) {
      message = failure.toString();
    }
    return String.valueOf(message).replaceAll("\\R", " ");
  }

  /** The version that the jar's manifest states. */
  static final class Version implements CommandLine.IVersionProvider {
    @Override
    public String[] getVersion() {
      String version = Main.class.getPackage().getImplementationVersion();
      return new String[] {"portllm " + (version == null ? "(unpackaged)" : version)};
    }
  }
}
