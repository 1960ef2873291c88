package io.portllm.cli;

import io.portllm.io.HubCache;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Set;
import picocli.CommandLine;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParseResult;

/** Reads paths, and {@code hf:org/name[@revision]}: what the local Hugging Face cache has under that name. */
final class HubPath implements ITypeConverter<Path> {
  private static final String PREFIX = "hf:";
  private static final Set<String> OUTPUTS = Set.of("--output", "--json", "--html");

  @Override
  public Path convert(String value) throws IOException {
    if (!value.startsWith(PREFIX)) {
      return Path.of(value);
    }
    String name = value.substring(PREFIX.length());
    int at = name.indexOf('@');
    return at < 0
        ? HubCache.find(name, HubCache.DEFAULT_REVISION)
        : HubCache.find(name.substring(0, at), name.substring(at + 1));
  }

  /** Refuses to write to the cache, which belongs to other tools. */
  static void refuseAsOutput(ParseResult parsed) {
    for (CommandLine command : parsed.asCommandLineList()) {
      for (OptionSpec option : command.getParseResult().matchedOptions()) {
        boolean inCache = option.originalStringValues().stream().anyMatch(value -> value.startsWith(PREFIX));
        if (inCache && OUTPUTS.contains(option.longestName())) {
          throw new ParameterException(command, option.longestName() + " must be a path: nothing is written to the Hugging Face cache");
        }
      }
    }
  }
}
