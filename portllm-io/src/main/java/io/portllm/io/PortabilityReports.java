package io.portllm.io;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.portllm.io.internal.report.PortabilityJson;
import io.portllm.portability.PortabilityReport;

/** Portability reports in forms that others read. {@code docs/reference/portability-report.md} has the fields. */
public final class PortabilityReports {
  private static final ObjectMapper JSON = new ObjectMapper();

  private PortabilityReports() {}

  /** The report as a JSON object, indented. */
  public static String json(PortabilityReport report) {
    return text(PortabilityJson.of(report));
  }

  private static String text(JsonNode node) {
    try {
      return JSON.writerWithDefaultPrettyPrinter().writeValueAsString(node) + "\n";
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("a tree that was just built is JSON", e);
    }
  }
}
