package io.portllm.io.internal.gguf.layout;

import io.portllm.Shape;
import io.portllm.internal.patch.Glob;
import io.portllm.internal.text.Names;
import io.portllm.io.internal.gguf.GgufModel;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * Finds how GGUF tensors are made of Hugging Face tensors. Shapes are outermost dimension first.
 */
public final class Layouts {
  private static final List<String> GENERATED = List.of("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight");

  private Layouts() {}

  /** The architectures that are mapped, as GGUF names them. */
  public static Set<String> architectures() {
    Set<String> names = new LinkedHashSet<>();
    Families.all().forEach(family -> names.add(family.architecture()));
    return names;
  }

  /**
   * The layout of a GGUF file.
   *
   * @param known names of Hugging Face tensors, as for {@link #of(Hyperparameters, Map, Collection)}
   * @throws IOException if the metadata cannot be read, or holds head counts of another type
   */
  public static Mapping of(GgufModel model, Collection<String> known) throws IOException {
    Map<String, Shape> tensors = new LinkedHashMap<>();
    model.tensors().forEach(tensor -> tensors.put(tensor.name(), tensor.shape()));
    return of(GgufHyperparameters.of(model.metadata()), tensors, known);
  }

  /**
   * The layout of a GGUF file.
   *
   * @param tensors all its tensors
   * @param known names of Hugging Face tensors, such as those that a patch changes: checkpoints of one architecture can differ in what
   *     their names start with and in whether experts are fused, and the way is taken that has most of these. May be empty
   */
  public static Mapping of(Hyperparameters hyperparameters, Map<String, Shape> tensors, Collection<String> known) {
    Optional<Family> family = Families.named(hyperparameters.architecture());
    if (family.isEmpty()) {
      return new Mapping.Unmapped("is of the architecture " + Names.quote(hyperparameters.architecture())
          + ", of which it is not known how its tensors are made of a Hugging Face checkpoint's");
    }
    Mapping best = null;
    long most = -1;
    for (List<Rule> rules : candidates(family.get(), known.isEmpty() ? List.of(Spelling.PLAIN) : List.of(Spelling.values()))) {
      Mapping mapping = map(family.get(), rules, hyperparameters, tensors);
      long found = mapping instanceof Layout layout ? known.stream().filter(layout.sources()::containsKey).count() : -1;
      if (best == null || found > most) {
        best = mapping;
        most = found;
      }
    }
    return best;
  }

  /**
   * The layout of the GGUF file that a Hugging Face checkpoint would be converted to, without generated tensors.
   *
   * @param checkpoint all its tensors
   */
  public static Mapping ofCheckpoint(Hyperparameters hyperparameters, Map<String, Shape> checkpoint) {
    Optional<Family> family = Families.named(hyperparameters.architecture());
    if (family.isEmpty()) {
      return of(hyperparameters, Map.of(), List.of());
    }
    Optional<String> strange = Optional.empty();
    long fewest = Long.MAX_VALUE;
    for (List<Rule> rules : candidates(family.get(), List.of(Spelling.values()))) {
      List<String> unknown = checkpoint.keySet().stream()
          .filter(name -> rules.stream().allMatch(rule -> rule.rare() || match(rule, name).isEmpty()))
          .filter(name -> family.get().ignored().stream().noneMatch(glob -> Glob.matches(glob, name)))
          .toList();
      if (unknown.isEmpty()) {
        return convert(family.get(), rules, hyperparameters, checkpoint);
      }
      if (unknown.size() < fewest) {
        fewest = unknown.size();
        strange = Optional.of(unknown.get(0));
      }
    }
    return new Mapping.Unmapped(
        "has tensor " + Names.quote(strange.orElseThrow()) + ", which " + Names.quote(hyperparameters.architecture()) + " models do not have");
  }

  private static List<List<Rule>> candidates(Family family, List<Spelling> spellings) {
    List<List<Rule>> candidates = new ArrayList<>();
    for (Spelling spelling : spellings) {
      for (List<Rule> variant : family.variants()) {
        candidates.add(variant.stream().map(rule -> rule.spelled(spelling)).toList());
      }
    }
    return candidates;
  }

  private static Mapping map(Family family, List<Rule> rules, Hyperparameters hyperparameters, Map<String, Shape> tensors) {
    LayoutBuilder layout = new LayoutBuilder();
    Set<String> generated = new LinkedHashSet<>();
    try {
      for (Map.Entry<String, Shape> tensor : tensors.entrySet()) {
        if (GENERATED.contains(tensor.getKey())) {
          generated.add(tensor.getKey());
        } else {
          link(rules, hyperparameters, tensor.getKey(), tensor.getValue(), layout);
        }
      }
      Set<String> cut = new LinkedHashSet<>();
      for (Spelling spelling : Spelling.values()) {
        family.cut().forEach(name -> cut.add(spelling.of(name)));
      }
      return layout.build(tensors, generated, cut, family.ignored());
    } catch (NoLayoutException e) {
      return new Mapping.Unmapped(e.getMessage());
    } catch (ArithmeticException e) {
      return new Mapping.Unmapped("has tensors whose sizes do not fit 63 bits");
    }
  }

  private static void link(List<Rule> rules, Hyperparameters hyperparameters, String name, Shape shape, LayoutBuilder layout)
      throws NoLayoutException {
    if (shape.rank() == 0 || shape.elements() == 0) {
      throw new NoLayoutException("has tensor " + Names.quote(name) + " of shape " + shape + ", which has no rows");
    }
    boolean linked = false;
    Optional<Rule.Parts> parts = Rule.Parts.of(name);
    for (Rule rule : parts.isPresent() ? rules : List.<Rule>of()) {
      Optional<Template.Match> match = rule.gguf().match(parts.get().stem());
      if (match.isPresent() && (!rule.bare() || parts.get().suffix().equals(".weight"))) {
        int layer = match.get().layer();
        int number = match.get().copy();
        String suffix = rule.bare() ? "" : parts.get().suffix();
        rule.transform().link(
            new Target(name, shape, copy -> rule.source().fill(layer, number + copy) + suffix, hyperparameters, layer), layout);
        linked = true;
      }
    }
    if (!linked) {
      throw new NoLayoutException("has tensor " + Names.quote(name) + ", which " + Names.quote(hyperparameters.architecture())
          + " models are not known to have");
    }
  }

  private static Optional<Template.Match> match(Rule rule, String source) {
    return rule.bare() ? rule.source().match(source) : Rule.Parts.of(source).flatMap(parts -> rule.source().match(parts.stem()));
  }

  private static Mapping convert(Family family, List<Rule> rules, Hyperparameters hyperparameters, Map<String, Shape> checkpoint) {
    Map<String, Long> copies = new HashMap<>();
    Map<String, Shape> tensors = new LinkedHashMap<>();
    try {
      for (Map.Entry<String, Shape> source : checkpoint.entrySet()) {
        for (Rule rule : rules) {
          Optional<Template.Match> match = rule.rare() ? Optional.empty() : match(rule, source.getKey());
          if (match.isPresent()) {
            int layer = match.get().layer();
            String suffix = rule.bare() ? ".weight" : Rule.Parts.of(source.getKey()).orElseThrow().suffix();
            String name = rule.gguf().fill(layer, match.get().copy()) + suffix;
            long count = copies.merge(name, 1L, Long::sum);
            tensors.put(name, rule.transform().target(source.getValue(), count, hyperparameters, layer));
          }
        }
      }
    } catch (NoLayoutException e) {
      return new Mapping.Unmapped(e.getMessage());
    }
    Mapping mapping = map(family, rules, hyperparameters, tensors);
    if (mapping instanceof Layout layout) {
      for (Map.Entry<String, Shape> source : layout.sources().entrySet()) {
        if (!source.getValue().equals(checkpoint.get(source.getKey()))) {
          return new Mapping.Unmapped("has tensor " + Names.quote(source.getKey()) + " of shape " + checkpoint.get(source.getKey())
              + ", where " + source.getValue() + " was expected");
        }
      }
    }
    return mapping;
  }
}
