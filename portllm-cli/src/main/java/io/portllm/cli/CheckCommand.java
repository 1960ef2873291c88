package io.portllm.cli;

import io.portllm.BasePolicy;
import io.portllm.FineTuned;
import io.portllm.Fingerprint;
import io.portllm.MergeOptions;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.PatchBase;
import io.portllm.io.Checkpoints;
import io.portllm.io.PatchFile;
import io.portllm.io.PeftAdapter;
import io.portllm.io.PortabilityReports;
import io.portllm.portability.ChainReport;
import io.portllm.portability.Finding;
import io.portllm.portability.PortabilityCheck;
import io.portllm.portability.PortabilityPage;
import io.portllm.portability.PortabilityReport;
import io.portllm.portability.TrialFailedException;
import io.portllm.portability.TrialLimits;
import io.portllm.portability.TrialReport;
import io.portllm.portability.Verdict;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code portllm check}. */
@Command(
    name = "check",
    description = "Says whether a fine-tune will work on a new base, and why: without data, or with --score by trying it on your items.",
    mixinStandardHelpOptions = true,
    footer = {
      "",
      "Exit codes: 0 PORT, 3 PORT_AND_TUNE, 4 DO_NOT_PORT, by the trial if there is one; with limits 0 kept, 5 missed. 1 failed, "
          + "2 wrong usage."
    })
final class CheckCommand implements Callable<Integer> {
  private static final int PORT_AND_TUNE = 3;
  private static final int DO_NOT_PORT = 4;
  private static final int LIMITS_MISSED = 5;

  @Spec private CommandSpec spec;

  @Parameters(arity = "0..1", paramLabel = "P", description = "The patch file or adapter folder.")
  private Path patch;

  @Option(names = "--fine-tuned", paramLabel = "FT", description = "The fine-tuned model, instead of P.")
  private Path fineTuned;

  @Option(names = "--adapter", paramLabel = "DIR", description = "The PEFT adapter folder, instead of P.")
  private Path adapter;

  @Option(
      names = "--base",
      paramLabel = "B",
      description = "The model that was tuned. Patch files remember enough of it to do without; adapters do not.")
  private Path base;

  @Option(
      names = "--to",
      required = true,
      paramLabel = "N",
      description = "The new base. Given more than once, releases in their order: says at which the patch stops working.")
  private List<Path> to;

  @Option(
      names = "--json",
      paramLabel = "FILE",
      description = "Write all figures to this file as JSON; - for standard output, instead of text.")
  private Path json;

  @Option(
      names = "--html",
      paramLabel = "FILE",
      description = "Write the report to this file as a page with pictures. Reads the last new base, and the base that was tuned unless a "
          + "patch file knows it, once more for their fingerprints.")
  private Path html;

  @Mixin private PatchOptions patchOptions;

  @ArgGroup(validate = false, heading = "%nThe trial:%n")
  private TrialOptions trialOptions = new TrialOptions();

  @Mixin private CheckOptions options;

  /**
   * A patch whose files are open.
   *
   * @param base the model that was tuned, if it is at hand
   * @param tuned the fine-tuned model, if the patch was made of it
   */
  private record Source(Patch patch, Optional<ModelVersion> base, Optional<ModelVersion> tuned) {}

  @Override
  public Integer call() throws IOException {
    List<Path> given = new ArrayList<>();
    for (Path path : new Path[] {patch, fineTuned, adapter}) {
      if (path != null) {
        given.add(path);
      }
    }
    if (given.size() != 1) {
      throw new ParameterException(spec.commandLine(), "there must be one of P, --fine-tuned and --adapter");
    }
    if (fineTuned != null && base == null) {
      throw new ParameterException(spec.commandLine(), "--fine-tuned needs --base, the model that was tuned");
    }
    trialOptions.check(base != null, fineTuned != null);
    options.requireWritable(json);
    options.requireWritable(html);
    return open(given.get(0));
  }

  private int open(Path path) throws IOException {
    if (base == null) {
      return open(path, Optional.empty());
    }
    try (ModelVersion old = Checkpoints.open(base)) {
      if (fineTuned == null && !Files.isDirectory(path)) {
        return open(path, Optional.of(old));
      }
      MergeOptions merging = options.mergeOptions();
      if (fineTuned != null) {
        try (ModelVersion tuned = Checkpoints.open(path)) {
          return report(new Source(Patch.from(tuned, old, merging), Optional.of(old), Optional.of(tuned)));
        }
      }
      try (PeftAdapter opened = PeftAdapter.open(path)) {
        return report(new Source(Patch.from((FineTuned) opened, old, merging), Optional.of(old), Optional.empty()));
      }
    }
  }

  private int open(Path path, Optional<ModelVersion> old) throws IOException {
    if (Files.isDirectory(path)) {
      try (PeftAdapter opened = PeftAdapter.open(path)) {
        return report(new Source(opened.patch(options.mergeOptions().withBasePolicy(BasePolicy.EVALUATE_ANEW)), old, Optional.empty()));
      }
    }
    try (PatchFile file = PatchFile.open(path)) {
      return report(new Source(file.patch(), old, Optional.empty()));
    }
  }

  private int report(Source source) throws IOException {
    List<ModelVersion> releases = new ArrayList<>();
    try {
      for (Path path : to) {
        releases.add(Checkpoints.open(path));
      }
      Patch chosen = patchOptions.on(source.patch());
      PortabilityCheck check = options.check();
      if (source.base().isPresent()) {
        check = check.withOldBase(source.base().get());
      }
      ChainReport chain;
      try (ProgressLine progress = new ProgressLine("checking")) {
        chain = check.withProgress(progress).checkChain(chosen, releases);
      }
      // Of several, the last is the one that the patch is wanted on.
      PortabilityReport last = chain.reports().get(chain.reports().size() - 1);
      ModelVersion newBase = releases.get(releases.size() - 1);
      Optional<TrialReport> trial = Optional.empty();
      if (trialOptions.isGiven() && last.findings().stream().noneMatch(finding -> finding.severity() == Finding.Severity.BLOCKING)) {
        trial = Optional.of(trialOptions.run(chosen, given(source, newBase), options.mergeOptions(), options.writeOptions()));
      }
      print(chain, trial);
      if (html != null) {
        Files.writeString(html, page(source.patch(), chain, trial, newBase), StandardCharsets.UTF_8);
      }
      return exitCode(trial.map(TrialReport::verdict).orElse(last.verdict()), trial);
    } finally {
      for (ModelVersion release : releases) {
        release.close();
      }
    }
  }

  private TrialOptions.Given given(Source source, ModelVersion newBase) {
    return new TrialOptions.Given(
        new TrialOptions.Known(newBase, to.get(to.size() - 1)),
        source.base().map(model -> new TrialOptions.Known(model, base)),
        source.tuned().map(model -> new TrialOptions.Known(model, fineTuned)));
  }

  private int exitCode(Verdict verdict, Optional<TrialReport> trial) {
    if (trial.isPresent() && !trialOptions.limits().equals(TrialLimits.none())) {
      try {
        trial.get().require(trialOptions.limits());
        return 0;
      } catch (TrialFailedException e) {
        spec.commandLine().getErr().println("portllm: " + e.getMessage());
        return LIMITS_MISSED;
      }
    }
    return switch (verdict) {
      case PORT -> 0;
      case PORT_AND_TUNE -> PORT_AND_TUNE;
      case DO_NOT_PORT -> DO_NOT_PORT;
    };
  }

  private String page(Patch opened, ChainReport chain, Optional<TrialReport> trial, ModelVersion newBase) throws IOException {
    PortabilityPage page = chain.reports().size() == 1 ? PortabilityPage.of(chain.reports().get(0)) : PortabilityPage.of(chain);
    Optional<String> old = opened.base().flatMap(PatchBase::fingerprint);
    Optional<ModelVersion> atHand = opened.base().flatMap(PatchBase::model);
    if (old.isEmpty() && atHand.isPresent()) {
      old = Optional.of(Fingerprint.of(atHand.get()).digest());
    }
    page = page.withNewFingerprint(Fingerprint.of(newBase).digest());
    page = trial.isPresent() ? page.withTrial(trial.get(), trialOptions.limits()) : page;
    return (old.isPresent() ? page.withOldFingerprint(old.get()) : page).html();
  }

  private void print(ChainReport chain, Optional<TrialReport> trial) throws IOException {
    String asJson = json(chain, trial);
    PrintWriter out = spec.commandLine().getOut();
    boolean toOut = json != null && json.toString().equals("-");
    out.print(toOut ? asJson : text(chain, trial) + System.lineSeparator());
    out.flush();
    if (json != null && !toOut) {
      Files.writeString(json, asJson, StandardCharsets.UTF_8);
    }
  }

  private static String text(ChainReport chain, Optional<TrialReport> trial) {
    String judged = chain.reports().size() == 1 ? chain.reports().get(0).toString() : chain.toString();
    return trial.map(measured -> measured + "\n\nwithout data: ").orElse("") + judged;
  }

  private static String json(ChainReport chain, Optional<TrialReport> trial) {
    if (chain.reports().size() == 1) {
      PortabilityReport one = chain.reports().get(0);
      return trial.isPresent() ? PortabilityReports.json(one, trial.get()) : PortabilityReports.json(one);
    }
    return trial.isPresent() ? PortabilityReports.json(chain, trial.get()) : PortabilityReports.json(chain);
  }
}
