package io.portllm.io;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.portllm.io.internal.report.PortabilityJson;
import io.portllm.portability.ChainReport;
import io.portllm.portability.PortabilityReport;

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

  private static String text(JsonNode node) {
    try {
      return JSON.writerWithDefaultPrettyPrinter().writeValueAsString(node) + "\n";
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("a tree that was just built is JSON", e);
    }
  }
}
