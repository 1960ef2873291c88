package io.portllm.io.internal.report;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.portllm.portability.Interval;
import io.portllm.portability.TrialArm;
import io.portllm.portability.TrialFlips;
import io.portllm.portability.TrialPoint;
import io.portllm.portability.TrialReport;
import java.util.List;

/** What a trial measured as a JSON tree. What was not measured is left out. */
public final class TrialJson {
  private static final ObjectMapper JSON = new ObjectMapper();

  private TrialJson() {}

  /** The tree of {@code trial}. */
  public static ObjectNode of(TrialReport trial) {
    ObjectNode root = JSON.createObjectNode();
    root.put("patch", trial.patch());
    root.put("newBase", trial.newBase());
    root.put("verdict", trial.verdict().name());
    root.put("certain", trial.certain());
    root.put("advice", trial.advice());
    root.set("noPatch", arm(trial.noPatch()));
    root.set("ported", arm(trial.ported()));
    trial.reference().ifPresent(arm -> root.set("reference", arm(arm)));
    trial.retuned().ifPresent(arm -> root.set("retuned", arm(arm)));
    root.put("gain", trial.gain());
    root.set("gainInterval", interval(trial.gainInterval()));
    trial.recovery().ifPresent(recovery -> root.put("recovery", recovery));
    trial.recoveryInterval().ifPresent(interval -> root.set("recoveryInterval", interval(interval)));
    root.set("flips", flips(trial.flips()));
    trial.retainNoPatch().ifPresent(arm -> root.set("retainNoPatch", arm(arm)));
    trial.retainPorted().ifPresent(arm -> root.set("retainPorted", arm(arm)));
    trial.retainFlips().ifPresent(flips -> root.set("retainFlips", flips(flips)));
    if (!trial.scales().isEmpty()) {
      root.set("scales", points(trial.scales()));
      root.put("bestScale", trial.bestScale());
    }
    if (!trial.path().isEmpty()) {
      root.set("path", points(trial.path()));
    }
    return root;
  }

  private static ObjectNode arm(TrialArm arm) {
    ObjectNode node = JSON.createObjectNode().put("name", arm.name()).put("items", arm.items()).put("score", arm.score());
    node.set("interval", interval(arm.interval()));
    return node;
  }

  private static ArrayNode interval(Interval interval) {
    return JSON.createArrayNode().add(interval.low()).add(interval.high());
  }

  private static ObjectNode flips(TrialFlips flips) {
    return JSON.createObjectNode().put("items", flips.items()).put("negative", flips.negative()).put("positive", flips.positive());
  }

  private static ArrayNode points(List<TrialPoint> points) {
    ArrayNode nodes = JSON.createArrayNode();
    points.forEach(point -> nodes.addObject().put("at", point.at()).put("score", point.score()));
    return nodes;
  }
}
