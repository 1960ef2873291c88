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
import io.portllm.portability.PortabilityCheck;
import io.portllm.portability.PortabilityPage;
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
    description = "Says, without data, whether a fine-tune will work on a new base, and why.",
    mixinStandardHelpOptions = true,
    footer = {"", "Exit codes: 0 PORT, 3 PORT_AND_TUNE, 4 DO_NOT_PORT, 1 failed, 2 wrong usage."})
final class CheckCommand implements Callable<Integer> {
  private static final int PORT_AND_TUNE = 3;
  private static final int DO_NOT_PORT = 4;

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
  @Mixin private CheckOptions options;

  /** What to do with a patch whose files are open. */
  private interface PatchUser {
    Verdict use(Patch patch, PortabilityCheck check) throws IOException;
  }

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
    options.requireWritable(json);
    options.requireWritable(html);
    return switch (open(given.get(0))) {
      case PORT -> 0;
      case PORT_AND_TUNE -> PORT_AND_TUNE;
      case DO_NOT_PORT -> DO_NOT_PORT;
    };
  }

  private Verdict open(Path path) throws IOException {
    PortabilityCheck check = options.check();
    if (base == null) {
      return open(path, check, this::report);
    }
    try (ModelVersion old = Checkpoints.open(base)) {
      PortabilityCheck withBase = check.withOldBase(old);
      if (fineTuned == null && !Files.isDirectory(path)) {
        return open(path, withBase, this::report);
      }
      MergeOptions merging = options.mergeOptions();
      if (fineTuned != null) {
        try (ModelVersion tuned = Checkpoints.open(path)) {
          return report(Patch.from(tuned, old, merging), withBase);
        }
      }
      try (PeftAdapter opened = PeftAdapter.open(path)) {
        return report(Patch.from((FineTuned) opened, old, merging), withBase);
      }
    }
  }

  private Verdict open(Path path, PortabilityCheck check, PatchUser user) throws IOException {
    if (Files.isDirectory(path)) {
      try (PeftAdapter opened = PeftAdapter.open(path)) {
        return user.use(opened.patch(options.mergeOptions().withBasePolicy(BasePolicy.EVALUATE_ANEW)), check);
      }
    }
    try (PatchFile file = PatchFile.open(path)) {
      return user.use(file.patch(), check);
    }
  }

  private Verdict report(Patch opened, PortabilityCheck check) throws IOException {
    List<ModelVersion> releases = new ArrayList<>();
    try {
      for (Path path : to) {
        releases.add(Checkpoints.open(path));
      }
      ChainReport chain;
      try (ProgressLine progress = new ProgressLine("checking")) {
        chain = check.withProgress(progress).checkChain(patchOptions.on(opened), releases);
      }
      print(chain);
      if (html != null) {
        Files.writeString(html, page(opened, chain, releases.get(releases.size() - 1)), StandardCharsets.UTF_8);
      }
      // Of several, the last is the one that the patch is wanted on.
      return chain.reports().get(chain.reports().size() - 1).verdict();
    } finally {
      for (ModelVersion release : releases) {
        release.close();
      }
    }
  }

  private static String page(Patch opened, ChainReport chain, ModelVersion newBase) throws IOException {
    PortabilityPage page = chain.reports().size() == 1 ? PortabilityPage.of(chain.reports().get(0)) : PortabilityPage.of(chain);
    Optional<String> old = opened.base().flatMap(PatchBase::fingerprint);
    Optional<ModelVersion> atHand = opened.base().flatMap(PatchBase::model);
    if (old.isEmpty() && atHand.isPresent()) {
      old = Optional.of(Fingerprint.of(atHand.get()).digest());
    }
    page = page.withNewFingerprint(Fingerprint.of(newBase).digest());
    return (old.isPresent() ? page.withOldFingerprint(old.get()) : page).html();
  }

  private void print(ChainReport chain) throws IOException {
    boolean one = chain.reports().size() == 1;
    String asJson = one ? PortabilityReports.json(chain.reports().get(0)) : PortabilityReports.json(chain);
    PrintWriter out = spec.commandLine().getOut();
    boolean toOut = json != null && json.toString().equals("-");
    out.print(toOut ? asJson : (one ? chain.reports().get(0) : chain) + System.lineSeparator());
    out.flush();
    if (json != null && !toOut) {
      Files.writeString(json, asJson, StandardCharsets.UTF_8);
    }
  }
}
