package io.portllm.io.internal.gguf.layout;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableSet;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/**
 * An architecture: how its GGUF tensors are made.
 *
 * @param architecture as GGUF names it
 * @param classes the classes of transformers whose checkpoints become it ({@code architectures} in {@code config.json})
 * @param variants the rules, once for each way in which checkpoints name and fuse their tensors, the usual one first
 * @param cut templates of the Hugging Face tensors of which the conversion keeps the rows that the tokenizer knows
 * @param ignored globs of the names of Hugging Face tensors that the conversion leaves out
 */
record Family(String architecture, Set<String> classes, List<List<Rule>> variants, Set<String> cut, List<String> ignored) {
  /** What the converter leaves out for every architecture: buffers, and the parts of multimodal models that are not text. */
  private static final List<String> ALWAYS_IGNORED = List.of(
      "*.attention.masked_bias", "*.attention.bias", "*.rotary_emb.inv_freq", "vit.*", "*visual.*", "*vision.*", "*audio.*", "*vision_*",
      "*audio_*", "*projector.*");

  Family {
    classes = ImmutableSet.copyOf(classes);
    variants = ImmutableList.copyOf(variants);
    cut = ImmutableSet.copyOf(cut);
    ignored = ImmutableList.copyOf(ignored);
  }

  /** Starts the description of an architecture. */
  static Builder of(String architecture, String... classes) {
    return new Builder(architecture, ImmutableSet.copyOf(classes));
  }

  /** Says how an architecture's tensors are made. */
  static final class Builder {
    private final String architecture;
    private final Set<String> classes;
    private final List<String> tables = new ArrayList<>();
    private final List<String> alternatives = new ArrayList<>();
    private final Set<String> cut = new LinkedHashSet<>();
    private final List<String> ignored = new ArrayList<>(ALWAYS_IGNORED);
    private boolean shiftedNorms;

    private Builder(String architecture, Set<String> classes) {
      this.architecture = architecture;
      this.classes = classes;
    }

    /** With these rules, a line each. */
    Builder with(String... more) {
      tables.addAll(List.of(more));
      return this;
    }

    /** With one of these tables, the usual one first. */
    Builder withEither(String... either) {
      alternatives.addAll(List.of(either));
      return this;
    }

    /** Norms are stored as weight + 1. */
    Builder shiftedNorms() {
      shiftedNorms = true;
      return this;
    }

    /** The rows of this Hugging Face tensor that the tokenizer does not know are dropped. */
    Builder cutting(String name) {
      cut.add(name);
      return this;
    }

    /** Tensors whose names match one of these globs are left out. */
    Builder ignoring(String... globs) {
      ignored.addAll(List.of(globs));
      return this;
    }

    Family build() {
      List<List<Rule>> variants = new ArrayList<>();
      for (String alternative : alternatives.isEmpty() ? List.of("") : alternatives) {
        variants.add((String.join("\n", tables) + "\n" + alternative).lines()
            .filter(line -> !line.isBlank())
            .map(line -> Rule.parse(line, shiftedNorms))
            .collect(ImmutableList.toImmutableList()));
      }
      return new Family(architecture, classes, variants, cut, ignored);
    }
  }
}
