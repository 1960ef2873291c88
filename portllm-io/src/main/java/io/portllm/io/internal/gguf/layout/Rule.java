package io.portllm.io.internal.gguf.layout;

import com.google.common.base.Splitter;
import java.util.List;
import java.util.Optional;

/**
 * Which Hugging Face tensors a GGUF tensor is made of, and how. Names are without their suffixes, {@code .weight} or {@code .bias}.
 *
 * @param gguf the GGUF tensor
 * @param source the Hugging Face tensor or tensors
 * @param transform how the one is made of the other
 * @param bare whether the Hugging Face tensor's name has no suffix, and the GGUF tensor's is {@code .weight}
 * @param rare whether converters wrote this form once, and do no more
 */
record Rule(Template gguf, Template source, Transform transform, boolean bare, boolean rare) {
  /**
   * A line of a table: the GGUF name, the Hugging Face name, and words.
   *
   * @param shiftedNorms whether norms are stored as weight + 1
   */
  static Rule parse(String line, boolean shiftedNorms) {
    List<String> words = Splitter.on(' ').omitEmptyStrings().splitToList(line);
    Transform transform = new Transforms.Same(shiftedNorms && words.get(1).endsWith("norm") ? 1 : 0);
    boolean bare = false;
    boolean rare = false;
    for (String word : words.subList(2, words.size())) {
      switch (word) {
        case "bare" -> bare = true;
        case "rare" -> rare = true;
        default -> transform = transform(word);
      }
    }
    return new Rule(new Template(words.get(0)), new Template(words.get(1)), transform, bare, rare);
  }

  private static Transform transform(String word) {
    return switch (word) {
      case "rotary-q" -> new Transforms.Rotary(false);
      case "rotary-k" -> new Transforms.Rotary(true);
      case "transposed" -> new Transforms.Transposed();
      case "regrouped" -> new Transforms.Regrouped(false);
      case "regrouped-heads" -> new Transforms.Regrouped(true);
      case "experts" -> new Transforms.Experts();
      case "half-1" -> new Transforms.Half(false);
      case "half-2" -> new Transforms.Half(true);
      case "group-q" -> new Transforms.Grouped(Transforms.Role.QUERIES);
      case "group-k" -> new Transforms.Grouped(Transforms.Role.KEYS);
      case "group-v" -> new Transforms.Grouped(Transforms.Role.VALUES);
      case "vectors" -> new Transforms.Vectors();
      case "one-row" -> new Transforms.OneRow();
      default -> throw new IllegalArgumentException("no transform is called " + word);
    };
  }

  /** This rule with Hugging Face names spelled as {@code spelling} does. */
  Rule spelled(Spelling spelling) {
    return new Rule(gguf, new Template(spelling.of(source.toString())), transform, bare, rare);
  }

  /** A name's stem and suffix. */
  record Parts(String stem, String suffix) {
    static Optional<Parts> of(String name) {
      for (String suffix : List.of(".weight", ".bias")) {
        if (name.endsWith(suffix)) {
          return Optional.of(new Parts(name.substring(0, name.length() - suffix.length()), suffix));
        }
      }
      return Optional.empty();
    }
  }
}
