package io.portllm.io;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.portllm.io.internal.report.PortabilityJson;
import io.portllm.io.internal.report.TrialJson;
import io.portllm.portability.ChainReport;
import io.portllm.portability.PortabilityReport;
import io.portllm.portability.TrialReport;

/** Portability reports in forms that others read. {@code docs/reference/portability-report.md} has the fields. */
public final class PortabilityReports {
  private static final ObjectMapper JSON = new ObjectMapper();

  private PortabilityReports() {}

  /** The report as a JSON object, indented. */
  public static String json(PortabilityReport report) {
    return text(PortabilityJson.of(report));
  }

  /** The reports on release after release as a JSON object, indented. */
  public static String json(ChainReport chain) {
    return text(PortabilityJson.of(chain));
  }

  /** What a trial measured as a JSON object, indented. */
  public static String json(TrialReport trial) {
    return text(TrialJson.of(trial));
  }

  /** The report as a JSON object with a field {@code trial}: what was measured with the same patch on the same new base. */
  public static String json(PortabilityReport report, TrialReport trial) {
    return withTrial(PortabilityJson.of(report), trial);
  }

  /** The reports on release after release as a JSON object with a field {@code trial}: what was measured on the last of them. */
  public static String json(ChainReport chain, TrialReport trial) {
    return withTrial(PortabilityJson.of(chain), trial);
  }

  private static String withTrial(ObjectNode root, TrialReport trial) {
    root.set("trial", TrialJson.of(trial));
    return text(root);
  }

  private static String text(JsonNode node) {
    try {
      return JSON.writerWithDefaultPrettyPrinter().writeValueAsString(node) + "\n";
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("a tree that was just built is JSON", e);
    }
  }
}
