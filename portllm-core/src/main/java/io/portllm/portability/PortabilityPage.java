package io.portllm.portability;

import io.portllm.internal.portability.page.Page;
import java.util.Objects;
import java.util.Optional;

/**
 * A portability report as one HTML page for reviewers: the verdict and the figures it rests on first, then evidence, pictures of where the
 * patch lives and what the update moved, and a table of every tensor. Immutable.
 *
 * <p>The page is a file by itself: it loads nothing, runs nothing, and says so in its Content-Security-Policy. It follows the reader's
 * light or dark setting, prints in light colours, and is well-formed XML too. The same reports give the same bytes in UTF-8. It takes
 * about 30 KB and 0.4 to 0.7 KB for each tensor, and is put together in memory.
 *
 * <p>{@snippet :
 * Files.writeString(file, PortabilityPage.of(report).withTrial(trial).html());
 * }
 */
public final class PortabilityPage {
  private final PortabilityReport report;
  private final Optional<ChainReport> chain;
  private final Optional<TrialReport> trial;
  private final TrialLimits limits;
  private final Optional<String> oldFingerprint;
  private final Optional<String> newFingerprint;

  private PortabilityPage(
      PortabilityReport report,
      Optional<ChainReport> chain,
      Optional<TrialReport> trial,
      TrialLimits limits,
      Optional<String> oldFingerprint,
      Optional<String> newFingerprint) {
    this.report = report;
    this.chain = chain;
    this.trial = trial;
    this.limits = limits;
    this.oldFingerprint = oldFingerprint;
    this.newFingerprint = newFingerprint;
  }

  /** The page of a report. */
  public static PortabilityPage of(PortabilityReport report) {
    Objects.requireNonNull(report, "report");
    return new PortabilityPage(report, Optional.empty(), Optional.empty(), TrialLimits.none(), Optional.empty(), Optional.empty());
  }

  /** The page of reports on release after release: their curve, and the last of them in full. */
  public static PortabilityPage of(ChainReport chain) {
    PortabilityReport last = chain.reports().get(chain.reports().size() - 1);
    return new PortabilityPage(last, Optional.of(chain), Optional.empty(), TrialLimits.none(), Optional.empty(), Optional.empty());
  }

  /** This page with what a trial of the same patch on the same new base measured, whose verdict comes first. */
  public PortabilityPage withTrial(TrialReport measured) {
    return withTrial(measured, TrialLimits.none());
  }

  /** This page with a trial as {@link #withTrial(TrialReport)} does, and which of these limits its port misses. */
  public PortabilityPage withTrial(TrialReport measured, TrialLimits wanted) {
    Objects.requireNonNull(wanted, "wanted");
    return new PortabilityPage(report, chain, Optional.of(measured), wanted, oldFingerprint, newFingerprint);
  }

  /** This page with the {@link io.portllm.Fingerprint} of the model that the patch was made on. */
  public PortabilityPage withOldFingerprint(String digest) {
    return new PortabilityPage(report, chain, trial, limits, Optional.of(digest), newFingerprint);
  }

  /** This page with the {@link io.portllm.Fingerprint} of the new base. */
  public PortabilityPage withNewFingerprint(String digest) {
    return new PortabilityPage(report, chain, trial, limits, oldFingerprint, Optional.of(digest));
  }

  /** The page, to be stored in UTF-8. */
  public String html() {
    return Page.html(report, chain, trial, limits, oldFingerprint, newFingerprint);
  }
}
