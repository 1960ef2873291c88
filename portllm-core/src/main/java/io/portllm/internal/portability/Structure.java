package io.portllm.internal.portability;

import com.google.common.collect.ImmutableMap;
import io.portllm.ModelVersion;
import io.portllm.PatchBase;
import io.portllm.TensorInfo;
import io.portllm.Tying;
import io.portllm.internal.patch.Embeddings;
import io.portllm.internal.text.Names;
import io.portllm.portability.Finding;
import io.portllm.portability.Finding.Severity;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** Compares two bases by their headers and configurations. */
final class Structure {
  /**
   * Parts of names of settings that decide what weights mean, and what another value means for a patch. Matched against the name without
   * the indices of lists.
   */
  private static final Map<String, Severity> SETTINGS =
      ImmutableMap.<String, Severity>builder()
          .put("model_type", Severity.WARNING)
          .put("architectures", Severity.WARNING)
          .put("hidden_act", Severity.WARNING)
          .put("activation_function", Severity.WARNING)
          .put("num_attention_heads", Severity.WARNING)
          .put("num_key_value_heads", Severity.WARNING)
          .put("head_dim", Severity.WARNING)
          .put("n_head", Severity.WARNING)
          .put("hidden_size", Severity.WARNING)
          .put("intermediate_size", Severity.WARNING)
          .put("num_hidden_layers", Severity.WARNING)
          .put("rope", Severity.WARNING)
          .put("rotary", Severity.WARNING)
          .put("partial_rotary_factor", Severity.WARNING)
          .put("norm_eps", Severity.WARNING)
          .put("layer_norm_eps", Severity.WARNING)
          .put("norm_epsilon", Severity.WARNING)
          .put("position_embedding_type", Severity.WARNING)
          .put("sliding_window", Severity.NOTE)
          .put("layer_types", Severity.NOTE)
          .put("max_position_embeddings", Severity.NOTE)
          .put("vocab_size", Severity.WARNING)
          .put("tie_word_embeddings", Severity.WARNING)
          .put("bos_token_id", Severity.NOTE)
          .put("eos_token_id", Severity.NOTE)
          .put("num_experts", Severity.WARNING)
          .put("num_local_experts", Severity.WARNING)
          .buildOrThrow();

  /** More differences of one kind are counted, not listed. */
  private static final int LISTED = 5;

  private Structure() {}

  /** The settings that bear on a port. */
  static Map<String, String> settings(Map<String, String> config) {
    Map<String, String> kept = new TreeMap<>();
    config.forEach((name, value) -> {
      if (severity(name) != null) {
        kept.put(name, value);
      }
    });
    return kept;
  }

  private static Severity severity(String name) {
    return SETTINGS.entrySet().stream().filter(entry -> name.contains(entry.getKey())).map(Map.Entry::getValue).findFirst().orElse(null);
  }

  /** What differs between the configurations. */
  static List<Finding> compareConfigs(Map<String, String> before, Map<String, String> now) {
    Map<String, String> old = settings(before);
    Map<String, String> fresh = settings(now);
    List<Finding> findings = new ArrayList<>();
    if (old.isEmpty() || fresh.isEmpty()) {
      return findings;
    }
    TreeMap<String, String> all = new TreeMap<>(old);
    all.putAll(fresh);
    for (String name : all.keySet()) {
      String mine = old.get(name);
      String theirs = fresh.get(name);
      if (mine != null && theirs != null && !same(mine, theirs)) {
        String what = Names.quote(name) + " is " + Names.quote(mine) + " in the old base and " + Names.quote(theirs) + " in the new one";
        findings.add(new Finding(severity(name), "setting " + what));
      } else if (name.contains("rope") && (mine == null) != (theirs == null) && !"null".equals(mine == null ? theirs : mine)) {
        // Other settings come and go with releases of transformers; a setting of positions that is new or gone means other positions.
        String what = Names.quote(name) + " is " + Names.quote(mine == null ? theirs : mine);
        String where = mine == null ? "new" : "old";
        findings.add(new Finding(Severity.NOTE, "setting " + what + " in the " + where + " base and not set in the other"));
      }
    }
    return findings;
  }

  private static boolean same(String one, String other) {
    if (one.equals(other)) {
      return true;
    }
    try {
      return Double.parseDouble(one) == Double.parseDouble(other);
    } catch (NumberFormatException e) {
      return false;
    }
  }

  /** What differs between the tensors of the base that the patch remembers and those of the new one. */
  static List<Finding> compareTensors(PatchBase base, ModelVersion newBase) {
    Map<String, TensorInfo> old = new HashMap<>();
    base.tensors().forEach(tensor -> old.put(tensor.name(), tensor));
    List<String> added = new ArrayList<>();
    List<String> types = new ArrayList<>();
    List<Finding> findings = new ArrayList<>();
    List<String> shapes = new ArrayList<>();
    for (TensorInfo tensor : newBase.tensors()) {
      TensorInfo before = old.remove(tensor.name());
      if (before == null) {
        added.add(Names.quote(tensor.name()));
      } else if (!before.shape().equals(tensor.shape())) {
        boolean rows = Embeddings.isVocabulary(tensor.name()) && before.shape().columns() == tensor.shape().columns();
        String what = Names.quote(tensor.name()) + " from " + before.shape() + " to " + tensor.shape();
        shapes.add(rows ? what + " (another vocabulary)" : what);
      } else if (before.dtype() != tensor.dtype()) {
        types.add(Names.quote(tensor.name()) + " from " + before.dtype() + " to " + tensor.dtype());
      }
    }
    add(findings, Severity.WARNING, "shapes changed: ", shapes);
    add(findings, Severity.WARNING, "tensors of the old base are gone: ", old.keySet().stream().sorted().map(Names::quote).toList());
    add(findings, Severity.NOTE, "tensors are new: ", added);
    add(findings, Severity.NOTE, "types changed: ", types);
    Tying tying = Embeddings.tying(newBase);
    if (base.tying() != Tying.UNKNOWN && tying != Tying.UNKNOWN && base.tying() != tying) {
      String what = words(base.tying()) + " in the old base and are " + words(tying) + " in the new one";
      findings.add(new Finding(Severity.WARNING, "embedding and head were " + what));
    }
    return findings;
  }

  private static String words(Tying tying) {
    return tying == Tying.TIED ? "one matrix" : "two matrices";
  }

  private static void add(List<Finding> findings, Severity severity, String what, List<String> list) {
    if (!list.isEmpty()) {
      String more = list.size() > LISTED ? " and " + (list.size() - LISTED) + " more" : "";
      findings.add(new Finding(severity, what + String.join(", ", list.subList(0, Math.min(LISTED, list.size()))) + more));
    }
  }
}
