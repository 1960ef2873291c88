package io.portllm.internal.portability.page;

import com.google.common.hash.Hashing;
import com.google.common.io.BaseEncoding;
import io.portllm.portability.ChainReport;
import io.portllm.portability.PortabilityReport;
import io.portllm.portability.TrialLimits;
import io.portllm.portability.TrialReport;
import java.nio.charset.StandardCharsets;
import java.util.Optional;

/** Puts the page together. */
public final class Page {
  private Page() {}

  /** The page; see {@link io.portllm.portability.PortabilityPage} for the parameters. */
  public static String html(
      PortabilityReport report,
      Optional<ChainReport> chain,
      Optional<TrialReport> trial,
      TrialLimits limits,
      Optional<String> oldFingerprint,
      Optional<String> newFingerprint) {
    Markup page = new Markup();
    page.add("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n");
    page.add("<meta http-equiv=\"Content-Security-Policy\" content=\"{}\"/>\n", policy());
    page.add("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n");
    page.add("<meta name=\"color-scheme\" content=\"light dark\"/>\n<meta name=\"referrer\" content=\"no-referrer\"/>\n");
    page.add(
        "<title>{}: {} on {}</title>\n",
        report.verdict(), Markup.shortened(report.patch(), 60), Markup.shortened(report.newBase(), 60));
    page.add("<style>" + Style.SHEET + "</style>\n</head>\n<body>\n<main>\n");
    page.add("<header><p class=\"kind\">Portability report</p>\n<h1>{} <span>made on</span> {} <span>for</span> {}</h1></header>\n",
        Markup.name(report.patch()), report.oldBase().map(Markup::name).orElse(new Markup().add("an unknown base")),
        Markup.name(report.newBase()));
    trial.ifPresent(found -> page.add("{}", VerdictSection.of(found, limits)));
    page.add("{}", VerdictSection.of(report));
    chain.ifPresent(found -> page.add("{}", ChainSection.of(found)));
    trial.ifPresent(found -> page.add("{}", TrialSection.of(found)));
    page.add("{}{}{}", EvidenceSection.compared(report, oldFingerprint, newFingerprint), EvidenceSection.findings(report.findings()),
        EvidenceSection.lineage(report));
    page.add("{}{}", LayerSection.of(report), TensorTable.of(report));
    return page.add("</main>\n</body>\n</html>\n").toString();
  }

  /** Nothing is loaded and nothing runs: of all a page can have, only this style sheet. */
  private static String policy() {
    byte[] digest = Hashing.sha256().hashString(Style.SHEET, StandardCharsets.UTF_8).asBytes();
    return "default-src 'none'; style-src 'sha256-" + BaseEncoding.base64().encode(digest) + "'; base-uri 'none'; form-action 'none'";
  }
}
