package io.portllm.cli;

import io.portllm.Allow;
import io.portllm.BasePolicy;
import io.portllm.MergeOptions;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.TokenReport;
import io.portllm.extract.LowRankExtraction;
import io.portllm.io.WriteOptions;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Option;
import picocli.CommandLine.TypeConversionException;

/** The options of every command that writes. */
final class CommonOptions {
  @Option(names = "--force", description = "Replace an existing output.")
  private boolean force;

  @Option(names = "--threads", paramLabel = "N", description = "Working threads. Default: one for each processor.")
  private Integer threads;

  @Option(names = "--json", description = "Print the report as JSON.")
  boolean json;

  @Option(names = "--no-record", description = "Write no portllm.json, the record that verify compares a model with.")
  private boolean noRecord;

  @Option(
      names = "--allow",
      paramLabel = "MISMATCH",
      split = ",",
      converter = AllowConverter.class,
      description = "Mismatches to let pass: missing-tensors, extra-tensors, other-shapes, other-vocabulary, added-tokens, rows-by-index, "
          + "other-dtypes, tied-embeddings, overflow.")
  private List<Allow> allow = new ArrayList<>();

  @Option(
      names = "--base-dependent",
      paramLabel = "POLICY",
      converter = BasePolicyConverter.class,
      description = "How changes of adapters that depend on the weights (DoRA, IA3, OFT and kin) are ported: freeze adds what they were on the "
          + "adapter's base, evaluate computes them on the new base. Default: freeze.")
  private BasePolicy basePolicy = BasePolicy.FREEZE;

  MergeOptions mergeOptions() {
    return MergeOptions.defaults().allow(allow.toArray(Allow[]::new)).withBasePolicy(basePolicy);
  }

  /** How the tokens of {@code newBase} differ from those of {@code patch}, if rows are matched by them. */
  Optional<TokenReport> tokens(Patch patch, ModelVersion newBase) {
    return allow.contains(Allow.ROWS_BY_INDEX) ? Optional.empty() : patch.compareTokens(newBase);
  }

  WriteOptions writeOptions(ProgressLine progress) {
    WriteOptions options = WriteOptions.defaults().withProgress(progress).cancelledWhen(Interruption::isRequested);
    if (force) {
      options = options.overwriting();
    }
    if (!noRecord) {
      options = options.recording();
    }
    return threads == null ? options : options.withThreads(threads);
  }

  int threads() {
    return threads == null ? WriteOptions.defaults().threads() : WriteOptions.defaults().withThreads(threads).threads();
  }

  /** {@code extraction} with the threads that are wanted, ended by an interrupt. */
  LowRankExtraction with(LowRankExtraction extraction) {
    LowRankExtraction stoppable = extraction.cancelledWhen(Interruption::isRequested);
    return threads == null ? stoppable : stoppable.withThreads(threads);
  }

  /** Reads the names that messages use, such as {@code other-vocabulary}. */
  static final class AllowConverter implements ITypeConverter<Allow> {
    @Override
    public Allow convert(String name) {
      return Arrays.stream(Allow.values())
          .filter(allow -> allow.optionName().equals(name))
          .findFirst()
          .orElseThrow(
              () ->
                  new TypeConversionException(
                      "must be one of " + Arrays.stream(Allow.values()).map(Allow::optionName).collect(Collectors.joining(", ")) + " but was '" + name + "'"));
    }
  }

  /** Reads the names that messages use, {@code freeze} and {@code evaluate}. */
  static final class BasePolicyConverter implements ITypeConverter<BasePolicy> {
    @Override
    public BasePolicy convert(String name) {
      return Arrays.stream(BasePolicy.values())
          .filter(policy -> policy.optionName().equals(name))
          .findFirst()
          .orElseThrow(() -> new TypeConversionException("must be freeze or evaluate but was '" + name + "'"));
    }
  }
}
