package io.portllm.spark.internal.job;

import io.portllm.spark.PatchSource;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** A command line: a command, and options with a value each or none. Misuse is {@link IllegalArgumentException}. */
public final class Arguments {
  private static final Set<String> FLAGS = Set.of("--force", "--json");
  private static final Set<String> OPTIONS = Set.of(
      "--fine-tuned", "--adapter", "--patch", "--base", "--onto", "--to", "--model", "-o", "--scale", "--only", "--except", "--allow",
      "--range-bytes");
  private static final Set<String> FORMS = Set.of("--fine-tuned", "--adapter", "--patch");

  private final String command;
  private final Map<String, List<String>> values = new LinkedHashMap<>();

  private Arguments(String command) {
    this.command = command;
  }

  /** Reads a command line. */
  public static Arguments parse(String[] arguments) {
    if (arguments.length == 0) {
      throw new IllegalArgumentException("there is no command");
    }
    Arguments parsed = new Arguments(arguments[0]);
    for (int i = 1; i < arguments.length; i++) {
      String name = arguments[i];
      if (FLAGS.contains(name)) {
        parsed.values.put(name, List.of());
      } else if (!OPTIONS.contains(name)) {
        throw new IllegalArgumentException("no option '" + name + "'");
      } else if (++i == arguments.length) {
        throw new IllegalArgumentException(name + " needs a value");
      } else {
        parsed.values.computeIfAbsent(name, any -> new ArrayList<>()).add(arguments[i]);
      }
    }
    return parsed;
  }

  /** What to do. */
  public String command() {
    return command;
  }

  /** Whether an option was given. */
  public boolean has(String name) {
    return values.containsKey(name);
  }

  /** All values of an option, in their order. */
  public List<String> all(String name) {
    return values.getOrDefault(name, List.of());
  }

  /** The value of an option that must be given once. */
  public String one(String name) {
    if (all(name).size() != 1) {
      throw new IllegalArgumentException(name + " must be given once");
    }
    return all(name).get(0);
  }

  /** The parts between commas of all values of an option. */
  public List<String> list(String name) {
    return all(name).stream().flatMap(value -> List.of(value.split(",")).stream()).toList();
  }

  /** The whole number that an option gives, or another. */
  public long number(String name, long otherwise) {
    try {
      return has(name) ? Long.parseLong(one(name)) : otherwise;
    } catch (NumberFormatException e) {
      throw new IllegalArgumentException(name + " must be a whole number but was " + one(name), e);
    }
  }

  private double scale() {
    try {
      return has("--scale") ? Double.parseDouble(one("--scale")) : 1;
    } catch (NumberFormatException e) {
      throw new IllegalArgumentException("--scale must be a number but was " + one("--scale"), e);
    }
  }

  /** The patches that the options name. */
  public List<PatchSource> patches() {
    List<String> forms = FORMS.stream().filter(this::has).toList();
    if (forms.size() != 1) {
      throw new IllegalArgumentException("there must be one of --fine-tuned, --adapter and --patch");
    }
    String form = forms.get(0);
    List<PatchSource> patches = new ArrayList<>();
    for (String location : all(form)) {
      PatchSource patch = switch (form) {
        case "--fine-tuned" -> PatchSource.fineTuned(location, one("--base"));
        case "--adapter" -> has("--base") ? PatchSource.adapter(location, one("--base")) : PatchSource.adapter(location);
        default -> PatchSource.patchFile(location);
      };
      patch = has("--only") ? patch.only(list("--only").toArray(String[]::new)) : patch;
      patch = has("--except") ? patch.except(list("--except").toArray(String[]::new)) : patch;
      patches.add(patch.scaledBy(scale()));
    }
    return patches;
  }
}
