package io.portllm.io.internal.report;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.portllm.Rounding;
import io.portllm.portability.ChainReport;
import io.portllm.portability.Finding;
import io.portllm.portability.Lineage;
import io.portllm.portability.PortabilityReport;
import io.portllm.portability.Storage;
import io.portllm.portability.TensorReport;
import java.util.Locale;
import java.util.OptionalDouble;

/** A portability report as a JSON tree. Figures that are not known, and infinite ones, are left out. */
public final class PortabilityJson {
  private static final ObjectMapper JSON = new ObjectMapper();

  private PortabilityJson() {}

  /** The tree of {@code report}. */
  public static ObjectNode of(PortabilityReport report) {
    ObjectNode root = JSON.createObjectNode();
    root.put("patch", report.patch());
    report.oldBase().ifPresent(name -> root.put("oldBase", name));
    root.put("newBase", report.newBase());
    root.put("evidence", name(report.evidence()));
    root.put("verdict", report.verdict().name());
    root.put("confidence", name(report.confidence()));
    put(root, "score", report.score());
    ArrayNode reasons = root.putArray("reasons");
    report.reasons().forEach(reasons::add);
    root.put("advice", report.advice());
    root.set("lineage", lineage(report.lineage()));
    ArrayNode findings = root.putArray("findings");
    for (Finding finding : report.findings()) {
      findings.addObject().put("severity", name(finding.severity())).put("what", finding.what());
    }
    root.set("patched", figures(report.patched()));
    root.set("total", figures(report.total()));
    ArrayNode tensors = root.putArray("tensors");
    report.tensors().forEach(tensor -> tensors.add(figures(tensor)));
    report.storage().ifPresent(storage -> root.set("storage", storage(storage)));
    return root;
  }

  /** The tree of {@code chain}. */
  public static ObjectNode of(ChainReport chain) {
    ObjectNode root = JSON.createObjectNode();
    root.put("trend", chain.trend());
    chain.turn().ifPresent(turn -> root.put("turn", turn));
    chain.releasesLeft().ifPresent(left -> root.put("releasesLeft", left));
    ArrayNode reports = root.putArray("reports");
    chain.reports().forEach(report -> reports.add(of(report)));
    return root;
  }

  private static ObjectNode lineage(Lineage lineage) {
    ObjectNode node = JSON.createObjectNode();
    node.put("kind", name(lineage.kind()));
    node.put("compared", lineage.compared());
    node.put("identical", lineage.identical());
    put(node, "cosine", lineage.cosine());
    put(node, "leastCosine", lineage.leastCosine());
    lineage.leastTensor().ifPresent(tensor -> node.put("leastTensor", tensor));
    node.put("brokenShare", lineage.brokenShare());
    return node;
  }

  private static ObjectNode figures(TensorReport tensor) {
    ObjectNode node = JSON.createObjectNode();
    node.put("name", tensor.name());
    tensor.layer().ifPresent(layer -> node.put("layer", layer));
    node.put("module", tensor.module());
    node.put("elements", tensor.elements());
    if (tensor.nonFinite() > 0) {
      node.put("nonFinite", tensor.nonFinite());
    }
    tensor.update().ifPresent(update -> {
      ObjectNode entry = node.putObject("update");
      put(entry, "oldNorm", update.oldNorm());
      put(entry, "newNorm", update.newNorm());
      put(entry, "norm", update.norm());
      put(entry, "drift", update.drift());
      put(entry, "cosine", update.cosine());
      put(entry, "spread", update.spread());
      put(entry, "displacedRows", update.displacedRows());
      entry.put("estimated", update.estimated());
    });
    tensor.change().ifPresent(change -> {
      ObjectNode entry = node.putObject("change");
      put(entry, "norm", change.norm());
      put(entry, "relative", change.relative());
      entry.set("rounding", rounding(change.rounding()));
    });
    tensor.meeting().ifPresent(meeting -> {
      ObjectNode entry = node.putObject("meeting");
      put(entry, "ratio", meeting.ratio());
      put(entry, "cosine", meeting.cosine());
      put(entry, "signConflicts", meeting.signConflicts());
      put(entry, "weightedSignConflicts", meeting.weightedSignConflicts());
      put(entry, "inputDrift", meeting.inputDrift());
      put(entry, "outputDrift", meeting.outputDrift());
      put(entry, "inputOverlap", meeting.inputOverlap());
      put(entry, "outputOverlap", meeting.outputOverlap());
      put(entry, "inputWeight", meeting.inputWeight());
      put(entry, "outputWeight", meeting.outputWeight());
    });
    return node;
  }

  private static ObjectNode storage(Storage storage) {
    ObjectNode node = JSON.createObjectNode();
    ArrayNode types = node.putArray("types");
    storage.types().forEach(type -> types.add(type.name()));
    node.put("tensors", storage.tensors()).put("weights", storage.weights()).put("sampled", storage.sampled());
    node.set("rounding", rounding(storage.rounding()));
    if (storage.quantised().blocks() > 0) {
      ObjectNode blocks = node.putObject("quantised");
      blocks.put("blocks", storage.quantised().blocks()).put("unchanged", storage.quantised().unchanged());
      put(blocks, "kept", storage.quantised().kept());
      put(blocks, "error", storage.quantised().error());
    }
    return node;
  }

  private static ObjectNode rounding(Rounding rounding) {
    return JSON.createObjectNode()
        .put("touched", rounding.touched())
        .put("vanished", rounding.vanished())
        .put("overflowed", rounding.overflowed())
        .put("nonFinite", rounding.nonFinite());
  }

  private static void put(ObjectNode node, String field, OptionalDouble value) {
    value.ifPresent(known -> put(node, field, known));
  }

  private static void put(ObjectNode node, String field, double value) {
    if (Double.isFinite(value)) {
      node.put(field, value);
    }
  }

  private static String name(Enum<?> value) {
    return value.name().toLowerCase(Locale.ROOT).replace('_', '-');
  }
}
