package io.portllm.internal.portability.page;

import io.portllm.portability.TensorReport;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * Layers that follow each other: the tensors whose names start alike up to the layer's number. Most models have one; those with an encoder
 * and a decoder, or with towers, have several.
 *
 * @param name what the names start with, {@code model.layers}
 * @param layers the tensors of each layer, by number
 * @param modules the tensors of each module in the order of the file. If there are too many, the numbers in their names are left out, and
 *     all experts of a layer share a place
 */
record Stack(String name, TreeMap<Integer, Group> layers, Map<String, Map<Integer, Group>> modules) {
  /** From this number of modules on, those that differ by numbers alone share a place. */
  private static final int MOST_MODULES = 28;

  /** The stacks of a report, those of most tensors first. */
  static List<Stack> of(List<TensorReport> tensors) {
    Map<String, List<TensorReport>> stacks = new LinkedHashMap<>();
    for (TensorReport tensor : tensors) {
      start(tensor).ifPresent(start -> stacks.computeIfAbsent(start, unused -> new ArrayList<>()).add(tensor));
    }
    return stacks.entrySet().stream()
        .sorted(Comparator.comparingInt(entry -> -entry.getValue().size()))
        .map(entry -> of(entry.getKey(), entry.getValue()))
        .toList();
  }

  /** What a name starts with before the number of its layer, if it has one. */
  static Optional<String> start(TensorReport tensor) {
    if (tensor.layer().isEmpty()) {
      return Optional.empty();
    }
    int at = tensor.name().lastIndexOf(tensor.module());
    String before = at < 0 ? "" : tensor.name().substring(0, at);
    // What is left ends with the number and the points around it.
    return Optional.of(before.replaceFirst("\\.?[0-9]+\\.$", ""));
  }

  private static Stack of(String name, List<TensorReport> tensors) {
    TreeMap<Integer, List<TensorReport>> layers = new TreeMap<>();
    Map<String, Map<Integer, List<TensorReport>>> modules = new LinkedHashMap<>();
    boolean many = tensors.stream().map(TensorReport::module).distinct().count() > MOST_MODULES;
    for (TensorReport tensor : tensors) {
      int layer = tensor.layer().getAsInt();
      String module = many ? withoutNumbers(tensor.module()) : tensor.module();
      layers.computeIfAbsent(layer, unused -> new ArrayList<>()).add(tensor);
      modules.computeIfAbsent(module, unused -> new LinkedHashMap<>()).computeIfAbsent(layer, unused -> new ArrayList<>()).add(tensor);
    }
    Map<String, Map<Integer, Group>> grouped = new LinkedHashMap<>();
    modules.forEach((module, byLayer) -> grouped.put(module, grouped(byLayer, new LinkedHashMap<>())));
    return new Stack(name, grouped(layers, new TreeMap<>()), grouped);
  }

  private static <M extends Map<Integer, Group>> M grouped(Map<Integer, List<TensorReport>> tensors, M groups) {
    tensors.forEach((layer, list) -> groups.put(layer, new Group(list)));
    return groups;
  }

  private static String withoutNumbers(String module) {
    return module.replaceAll("(^|\\.)[0-9]+(?=\\.|$)", "$1*");
  }

  /** Every group of a module and a layer. */
  List<Group> cells() {
    return modules.values().stream().map(Map::values).flatMap(Collection::stream).toList();
  }
}
