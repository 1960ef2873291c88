package io.portllm.cli;

import io.portllm.Allow;
import io.portllm.MergeOptions;
import io.portllm.io.WriteOptions;
import io.portllm.portability.PortabilityCheck;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import picocli.CommandLine.Option;

/** The options of commands that judge patches. */
final class CheckOptions {
  @Option(names = "--force", description = "Replace an existing report.")
  private boolean force;

  @Option(names = "--threads", paramLabel = "N", description = "Working threads. Default: one for each processor.")
  private Integer threads;

  @Option(
      names = "--allow",
      paramLabel = "MISMATCH",
      split = ",",
      converter = CommonOptions.AllowConverter.class,
      description = "Mismatches that the port will let pass: missing-tensors, extra-tensors, other-shapes, other-vocabulary, other-dtypes, "
          + "tied-embeddings, overflow.")
  private List<Allow> allow = new ArrayList<>();

  MergeOptions mergeOptions() {
    return MergeOptions.defaults().allow(allow.toArray(Allow[]::new));
  }

  PortabilityCheck check() {
    PortabilityCheck check = PortabilityCheck.defaults().withMergeOptions(mergeOptions()).cancelledWhen(Interruption::isRequested);
    return threads == null ? check : check.withThreads(threads);
  }

  /** How models are written that are tried. */
  WriteOptions writeOptions() {
    WriteOptions writing = WriteOptions.defaults().cancelledWhen(Interruption::isRequested);
    return threads == null ? writing : writing.withThreads(threads);
  }

  /** Refuses a report that exists, before any work is done. */
  void requireWritable(Path report) throws FileAlreadyExistsException {
    if (report != null && !force && !report.toString().equals("-") && Files.exists(report)) {
      throw new FileAlreadyExistsException(report.toString(), null, "exists and is not to be overwritten");
    }
  }
}
