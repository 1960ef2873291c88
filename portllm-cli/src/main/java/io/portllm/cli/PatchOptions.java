package io.portllm.cli;

import io.portllm.Patch;
import java.util.ArrayList;
import java.util.List;
import picocli.CommandLine.Option;

/** The options that change a patch before it is used. */
final class PatchOptions {
  @Option(names = "--scale", paramLabel = "S", description = "Multiply the patch by this. Default: 1.")
  private double scale = 1;

  @Option(names = "--only", paramLabel = "GLOB", arity = "1..*", description = "Use the changes of tensors whose name matches, such as '*.self_attn.*'.")
  private List<String> only = new ArrayList<>();

  @Option(names = "--except", paramLabel = "GLOB", arity = "1..*", description = "Leave out the changes of tensors whose name matches.")
  private List<String> except = new ArrayList<>();

  Patch on(Patch patch) {
    Patch chosen = only.isEmpty() ? patch : patch.only(only.toArray(String[]::new));
    chosen = except.isEmpty() ? chosen : chosen.except(except.toArray(String[]::new));
    return chosen.scaledBy(scale);
  }
}
