package io.portllm.cli;

import io.portllm.Patch;
import io.portllm.extract.Extract;
import io.portllm.io.PatchFile;
import io.portllm.io.WriteReport;
import io.portllm.merge.Combination;
import io.portllm.merge.ConflictReport;
import io.portllm.merge.MergeMethod;
import io.portllm.merge.Merging;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import picocli.CommandLine.Command;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import picocli.CommandLine.TypeConversionException;

/** {@code portllm merge}. */
@Command(
    name = "merge",
    description = "Makes one patch file of several, or says how much they contradict each other.",
    mixinStandardHelpOptions = true)
final class MergeCommand implements Callable<Integer> {
  /** A method as it is called on the command line. */
  private enum Method {
    SUM,
    LINEAR,
    TIES,
    DARE,
    DARE_TIES,
    DELLA,
    BREADCRUMBS,
    SLERP,
    SCE,
    MODEL_STOCK;

    String optionName() {
      return name().toLowerCase(Locale.ROOT).replace('_', '-');
    }

    static String all() {
      return Arrays.stream(values()).map(Method::optionName).collect(Collectors.joining(", "));
    }
  }

  /** Reads the names of methods. */
  static final class MethodConverter implements ITypeConverter<Method> {
    @Override
    public Method convert(String name) {
      return Arrays.stream(Method.values())
          .filter(method -> method.optionName().equals(name))
          .findFirst()
          .orElseThrow(() -> new TypeConversionException("must be one of " + Method.all() + " but was '" + name + "'"));
    }
  }

  @Spec private CommandSpec spec;

  @Parameters(paramLabel = "P", arity = "1..*", description = "The patch files or adapter folders.")
  private List<Path> patches;

  @Option(
      names = "--method",
      converter = MethodConverter.class,
      paramLabel = "METHOD",
      description = "One of sum, linear, ties, dare, dare-ties, della, breadcrumbs, slerp, sce, model-stock. Needed with -o.")
  private Method method;

  @Option(names = "--weights", split = ",", paramLabel = "W", description = "A weight for each patch. Default: 1 each.")
  private List<Double> weights = new ArrayList<>();

  @Option(
      names = "--density",
      paramLabel = "D",
      description = "The share of changes to keep: ties, dare, dare-ties, della, breadcrumbs, sce.")
  private Double density;

  @Option(names = "--seed", paramLabel = "N", description = "Chooses what is kept at random: dare, dare-ties, della.")
  private Long seed;

  @Option(
      names = "--window",
      paramLabel = "E",
      description = "della: the greatest probability to keep a change less the least. Default: 0.1.")
  private Double window;

  @Option(
      names = "--gamma",
      paramLabel = "G",
      description = "breadcrumbs: the share of the greatest changes to drop. Default: 0.01.")
  private Double gamma;

  @Option(
      names = "--per-tensor",
      description = "ties: take the share of each tensor by itself, as mergekit does, and not of the whole patch.")
  private boolean perTensor;

  @Option(
      names = "--by-count",
      description = "ties: elect signs without weights and divide by the number of patches that agree, as PEFT does.")
  private boolean byCount;

  @Option(names = "--by-row", description = "slerp, model-stock: take the angle in each row and not over the tensor.")
  private boolean byRow;

  @Option(names = {"-o", "--output"}, paramLabel = "P", description = "The patch file to make.")
  private Path output;

  @Option(names = "--report", description = "Print how much the patches contradict each other, tensor by tensor.")
  private boolean report;

  @Mixin private RankOptions rankOptions;
  @Mixin private CommonOptions common;

  @Override
  public Integer call() throws IOException {
    if (output == null && !report) {
      throw new IllegalArgumentException("there must be -o to merge, --report to compare, or both");
    }
    if (output != null && method == null) {
      throw new IllegalArgumentException("there must be a --method: one of " + Method.all());
    }
    if (output == null && method != null) {
      throw new IllegalArgumentException("there must be -o for --method " + method.optionName());
    }
    if (output == null && rankOptions.isGiven()) {
      throw new IllegalArgumentException("there must be -o for --rank and --energy");
    }
    try (OpenPatches opened = OpenPatches.open(patches)) {
      if (report) {
        ConflictTable.print(spec.commandLine().getOut(), patches, ConflictReport.of(opened.patches()), common.json);
      }
      if (output != null) {
        write(opened.patches());
      }
    }
    return 0;
  }

  private void write(List<Patch> opened) throws IOException {
    Patch merged = Merging.merge(opened, weights.isEmpty() ? Collections.nCopies(opened.size(), 1.0) : weights, mergeMethod());
    Optional<Extract> extract = rankOptions.extract(merged, common);
    WriteReport written;
    try (ProgressLine progress = new ProgressLine("merging")) {
      written = PatchFile.write(extract.map(Extract::patch).orElse(merged), output, common.writeOptions(progress));
    }
    Reports.print(spec.commandLine().getOut(), written, extract, common.json);
  }

  private MergeMethod mergeMethod() {
    boolean random = method == Method.DARE || method == Method.DARE_TIES || method == Method.DELLA;
    boolean sparse = random || method == Method.TIES || method == Method.BREADCRUMBS || method == Method.SCE;
    allowOnly(sparse, "--density", density);
    allowOnly(random, "--seed", seed);
    allowOnly(method == Method.DELLA, "--window", window);
    allowOnly(method == Method.BREADCRUMBS, "--gamma", gamma);
    allowOnly(method == Method.TIES, "--per-tensor", perTensor ? true : null);
    allowOnly(method == Method.TIES, "--by-count", byCount ? true : null);
    allowOnly(method == Method.SLERP || method == Method.MODEL_STOCK, "--by-row", byRow ? true : null);
    return switch (method) {
      case SUM -> new MergeMethod.Sum();
      case LINEAR -> new MergeMethod.Linear();
      case TIES -> new MergeMethod.Ties(
          required("--density", density),
          perTensor ? MergeMethod.Scope.TENSOR : MergeMethod.Scope.PATCH,
          byCount ? Combination.COUNTED_MEAN : Combination.ELECTED_MEAN);
      case DARE -> new MergeMethod.Dare(required("--density", density), required("--seed", seed));
      case DARE_TIES -> new MergeMethod.Dare(required("--density", density), required("--seed", seed), Combination.ELECTED_SUM);
      case DELLA -> new MergeMethod.Della(
          required("--density", density), window == null ? MergeMethod.Della.DEFAULT_WINDOW : window, required("--seed", seed));
      case BREADCRUMBS -> new MergeMethod.Breadcrumbs(
          required("--density", density), gamma == null ? MergeMethod.Breadcrumbs.DEFAULT_GAMMA : gamma);
      case SLERP -> new MergeMethod.Slerp(byRow);
      case SCE -> new MergeMethod.Sce(required("--density", density));
      case MODEL_STOCK -> new MergeMethod.ModelStock(byRow);
    };
  }

  private void allowOnly(boolean allowed, String option, Object value) {
    if (!allowed && value != null) {
      throw new IllegalArgumentException(option + " means nothing to --method " + method.optionName());
    }
  }

  private <T> T required(String option, T value) {
    if (value == null) {
      throw new IllegalArgumentException("there must be " + option + " for --method " + method.optionName());
    }
    return value;
  }
}
