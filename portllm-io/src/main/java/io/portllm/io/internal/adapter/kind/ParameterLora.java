package io.portllm.io.internal.adapter.kind;

import com.google.common.collect.ImmutableListMultimap;
import io.portllm.Delta;
import io.portllm.IncompatibleModelException;
import io.portllm.Mismatch;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.internal.text.Names;
import io.portllm.io.internal.adapter.AdapterConfig;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * LoRA on parameters ({@code target_parameters}), which are mostly the stacked weights of experts. Where a module has several such parameters,
 * PEFT nests their factors, the first parameter innermost: {@code experts.base_layer.lora_A.weight} and {@code experts.lora_A.weight}.
 *
 * <p>The base may hold each expert's weights apart, as files from before transformers 5 do; then each gets its own low-rank change.
 */
public final class ParameterLora {
  /** The ends of the names of the factors. */
  public static final List<String> PARTS = List.of("lora_A.weight", "lora_B.weight");

  private static final String NESTED = ".base_layer";

  /** The order in which the experts of transformers have their parameters. */
  private static final List<String> ORDER = List.of("gate_up_proj", "gate_up_proj_bias", "down_proj", "down_proj_bias");

  /** What the matrices that a stacked parameter is put together from may be called in files with the experts apart, in their order. */
  private static final ImmutableListMultimap<String, List<String>> APART =
      ImmutableListMultimap.of(
          "gate_up_proj", List.of("gate_proj", "up_proj"),
          "gate_up_proj", List.of("w1", "w3"),
          "down_proj", List.of("down_proj"),
          "down_proj", List.of("w2"));

  private final AdapterTensors tensors;
  private final AdapterBase base;
  private final Kept kept = new Kept();
  private final Map<String, Delta> deltas = new TreeMap<>();
  private final List<Mismatch> mismatches = new ArrayList<>();

  private ParameterLora(AdapterTensors tensors, AdapterBase base) {
    this.tensors = tensors;
    this.base = base;
  }

  /** One parameter and its factors. */
  private record Parameter(String module, String name, ExpertFactors factors, double scale) {
    String path() {
      return module + "." + name;
    }
  }

  /** Whether the factors of the module of this path belong to a parameter. */
  public static boolean isParameter(AdapterConfig config, String path) {
    return !names(config, path.replace(NESTED, "")).isEmpty();
  }

  /** The parameters of a module that the adapter changes, by name, in the order of their nesting. */
  private static List<String> names(AdapterConfig config, String module) {
    List<String> names = new ArrayList<>();
    for (String target : config.texts("target_parameters")) {
      int dot = target.lastIndexOf('.');
      String owner = dot < 0 ? "experts" : target.substring(0, dot);
      if (module.equals(owner) || module.endsWith("." + owner)) {
        names.add(target.substring(dot + 1));
      }
    }
    return names.stream().distinct().sorted(Comparator.comparing(ORDER::indexOf)).toList();
  }

  /**
   * The changes of all parameters.
   *
   * @param adapter the adapter's name, for messages
   * @throws IncompatibleModelException if the base is not at hand, or does not fit
   */
  public static Map<String, Delta> deltas(AdapterTensors tensors, AdapterBase base, String adapter) throws IOException {
    ParameterLora lora = new ParameterLora(tensors, base);
    for (List<Parameter> module : lora.parameters().values()) {
      lora.change(module);
    }
    if (!lora.mismatches.isEmpty()) {
      String what = base.model().map(model -> " does not fit the base " + Names.quote(model.name())).orElse(" cannot be applied without its base");
      throw new IncompatibleModelException("the adapter " + Names.quote(adapter) + what, lora.mismatches);
    }
    return lora.deltas;
  }

  /** Refuses factors that contradict each other or the configuration. */
  public static void check(AdapterTensors tensors) throws IOException {
    new ParameterLora(tensors, null).parameters();
  }

  private Map<String, List<Parameter>> parameters() throws IOException {
    Map<String, List<AdapterTensors.Module>> wrappers = new TreeMap<>();
    for (AdapterTensors.Module module : tensors.modules().values()) {
      wrappers.computeIfAbsent(module.path().replace(NESTED, ""), path -> new ArrayList<>()).add(module);
    }
    Map<String, List<Parameter>> parameters = new TreeMap<>();
    for (Map.Entry<String, List<AdapterTensors.Module>> entry : wrappers.entrySet()) {
      String module = entry.getKey();
      List<String> names = names(tensors.config(), module);
      List<AdapterTensors.Module> factors = entry.getValue();
      factors.sort(Comparator.comparing(wrapper -> -wrapper.path().length()));
      if (names.size() != factors.size() || names.size() > 1 && !ORDER.containsAll(names)) {
        throw tensors.malformed(
            "AD-TARGET",
            "module " + Names.quote(module) + " has factors of " + factors.size() + " parameters, which target_parameters "
                + (names.size() == factors.size() ? "names in no known order" : "gives " + names.size() + " names for"));
      }
      List<Parameter> all = new ArrayList<>();
      for (int i = 0; i < names.size(); i++) {
        all.add(parameter(module, names.get(i), factors.get(i)));
      }
      parameters.put(module, all);
    }
    return parameters;
  }

  private Parameter parameter(String module, String name, AdapterTensors.Module factors) throws IOException {
    String path = module + "." + name;
    Tensor a = factors.matrix("lora_A.weight");
    long ranks = a.info().shape().rows();
    Tensor b = factors.matrixOfColumns("lora_B.weight", ranks);
    int rank = tensors.config().rank(path);
    if (ranks % rank != 0) {
      throw tensors.malformed("AD-RANK", "parameter " + Names.quote(path) + " has " + ranks + " ranks, no multiple of the rank " + rank);
    }
    return new Parameter(module, name, new ExpertFactors(a, b, Math.toIntExact(ranks / rank), rank), tensors.config().scale(path));
  }

  private void change(List<Parameter> module) throws IOException {
    if (base.model().isEmpty()) {
      module.forEach(parameter -> mismatches.add(Mismatch.of(parameter.path(), "is changed by factors of which only the base tells the layout")));
      return;
    }
    // All parameters of a module are stored in x out, or none is.
    Optional<Boolean> transposed = Optional.empty();
    for (Parameter parameter : module) {
      Optional<Boolean> mine = transposed(parameter);
      transposed = transposed.or(() -> mine);
    }
    if (transposed.isEmpty() && isBefore019(tensors.config().text("peft_version", ""))) {
      // Until then PEFT took the second dimension of every parameter for its inputs.
      transposed = Optional.of(true);
    }
    for (Parameter parameter : module) {
      if (transposed.isEmpty()) {
        mismatches.add(Mismatch.of(parameter.path(), "is missing in the base, or a stack of square matrices that may be stored in x out or out x in"));
      } else {
        change(parameter, transposed.get());
      }
    }
  }

  private static boolean isBefore019(String version) {
    return version.matches("0\\.(1[0-8]|[0-9])(\\..*)?");
  }

  /** Whether a parameter is stored in × out, if its shape tells. */
  private Optional<Boolean> transposed(Parameter parameter) {
    Optional<Shape> matrix = matrixOf(parameter);
    if (matrix.isEmpty()) {
      return Optional.empty();
    }
    long rows = matrix.get().rows();
    long columns = matrix.get().columns();
    boolean asIs = parameter.factors().out() == rows && parameter.factors().in() == columns;
    boolean turned = parameter.factors().in() == rows && parameter.factors().out() == columns;
    return asIs == turned ? Optional.empty() : Optional.of(turned);
  }

  /** The shape of one matrix of the stack that the parameter is. */
  private Optional<Shape> matrixOf(Parameter parameter) {
    Optional<Shape> whole = base.tensor(parameter.path()).map(tensor -> tensor.info().shape());
    if (whole.isPresent()) {
      Shape shape = whole.get();
      return shape.rank() == 3 ? Optional.of(Shape.of(shape.dimension(1), shape.dimension(2))) : whole.filter(two -> two.rank() == 2);
    }
    List<String> first = apart(parameter, 0);
    return first.isEmpty()
        ? Optional.empty()
        : base.tensor(first.get(0)).map(tensor -> tensor.info().shape()).map(shape -> shape.withRows(shape.rows() * first.size()));
  }

  /** The names of an expert's own matrices in the base, if it holds the experts apart. */
  private List<String> apart(Parameter parameter, int expert) {
    for (String module : List.of(parameter.module(), parameter.module().replaceFirst("\\.mlp\\.experts$", ".block_sparse_moe.experts"))) {
      for (List<String> names : APART.get(parameter.name())) {
        List<String> paths = names.stream().map(name -> module + "." + expert + "." + name + ".weight").toList();
        if (base.tensor(paths.get(0)).isPresent()) {
          return paths;
        }
      }
    }
    return List.of();
  }

  private void change(Parameter parameter, boolean transposed) {
    ExpertFactors factors = parameter.factors();
    Shape one = transposed ? Shape.of(factors.in(), factors.out()) : Shape.of(factors.out(), factors.in());
    Optional<Tensor> whole = base.tensor(parameter.path());
    if (whole.isPresent() && whole.get().info().shape().rank() == 2 && factors.experts() == 1) {
      deltas.put(parameter.path(), LowRank.of(factors.b(), factors.a(), parameter.scale(), transposed));
    } else if (whole.isPresent()) {
      // A stack of another shape than the base's is refused with all other tensors that do not fit.
      Shape stack = Shape.of(factors.experts(), one.rows(), one.columns());
      deltas.put(parameter.path(), new Delta.Computed(new ExpertStack(stack, factors, parameter.scale(), transposed, kept), Optional.empty()));
    } else {
      for (int expert = 0; expert < factors.experts(); expert++) {
        changeApart(parameter, transposed, one, expert);
      }
      List<String> further = apart(parameter, factors.experts());
      further.forEach(name -> mismatches.add(Mismatch.of(name, "is in the base, but the adapter has factors of " + factors.experts() + " experts")));
    }
  }

  private void changeApart(Parameter parameter, boolean transposed, Shape one, int expert) {
    ExpertFactors factors = parameter.factors();
    List<String> names = apart(parameter, expert);
    if (names.isEmpty() || one.rows() % names.size() != 0) {
      mismatches.add(Mismatch.of(parameter.path(), "has factors of " + factors.experts() + " experts of " + one + " weights, and expert " + expert + " of the base has others"));
      return;
    }
    long rows = one.rows() / names.size();
    for (int i = 0; i < names.size(); i++) {
      long from = i * rows;
      Tensor a = transposed ? factors.a(expert, from, from + rows) : factors.a(expert, 0, factors.in());
      Tensor b = transposed ? factors.b(expert, 0, factors.out()) : factors.b(expert, from, from + rows);
      deltas.put(names.get(i), LowRank.of(b, a, parameter.scale(), transposed));
    }
  }
}
