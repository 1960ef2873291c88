package io.portllm.io.internal.adapter;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.portllm.ModelVersion;
import java.nio.charset.StandardCharsets;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;

/** Writes {@code adapter_config.json}. */
final class ExportConfig {
  /** The release of PEFT whose fields are written, and against which they were checked. */
  private static final String PEFT_VERSION = "0.21.0";

  private final ObjectMapper mapper = new ObjectMapper().enable(SerializationFeature.INDENT_OUTPUT);
  private final ObjectNode root = mapper.createObjectNode();

  /**
   * The configuration of an adapter.
   *
   * @param factors what each module is changed by; at least one
   * @param whole the modules that are saved whole
   */
  static byte[] of(
      SortedMap<String, ExportedFactors> factors,
      List<String> whole,
      boolean biases,
      boolean fanInFanOut,
      boolean trainable,
      Optional<String> baseName,
      Optional<ModelVersion> base) {
    ExportConfig config = new ExportConfig();
    config.root.putNull("auto_mapping");
    config.root.put("base_model_name_or_path", baseName.orElse(null));
    config.root.put("bias", biases ? "lora_only" : "none");
    config.root.put("fan_in_fan_out", fanInFanOut);
    config.root.put("inference_mode", !trainable);
    config.root.put("init_lora_weights", true);
    config.root.put("lora_bias", false);
    config.root.put("lora_dropout", 0.0);
    config.names("modules_to_save", whole);
    config.root.put("peft_type", "LORA");
    config.root.put("peft_version", PEFT_VERSION);
    config.names("target_modules", List.copyOf(factors.keySet()));
    config.root.put("task_type", base.filter(ExportConfig::isCausal).map(model -> "CAUSAL_LM").orElse(null));
    config.root.put("use_dora", false);
    config.root.put("use_rslora", false);
    config.ranks(factors);
    try {
      return (config.mapper.writeValueAsString(config.root) + "\n").getBytes(StandardCharsets.UTF_8);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException(e);
    }
  }

  private static boolean isCausal(ModelVersion base) {
    return base.config().getOrDefault("architectures.0", "").endsWith("ForCausalLM");
  }

  private void names(String field, List<String> names) {
    if (names.isEmpty()) {
      root.putNull(field);
      return;
    }
    ArrayNode array = root.putArray(field);
    names.forEach(array::add);
  }

  /** The commonest rank and alpha once, and a pattern for each module of another. */
  private void ranks(SortedMap<String, ExportedFactors> factors) {
    Map<List<Double>, Integer> counts = new HashMap<>();
    factors.values().forEach(module -> counts.merge(List.of((double) module.rank(), module.alpha()), 1, Integer::sum));
    List<Double> common =
        counts.entrySet().stream()
            .max(
                Comparator.comparingInt((Map.Entry<List<Double>, Integer> entry) -> entry.getValue())
                    .thenComparing(entry -> entry.getKey().get(0))
                    .thenComparing(entry -> entry.getKey().get(1)))
            .orElseThrow()
            .getKey();
    root.put("r", common.get(0).intValue());
    put(root, "lora_alpha", common.get(1));
    ObjectNode rankPattern = root.putObject("rank_pattern");
    ObjectNode alphaPattern = root.putObject("alpha_pattern");
    // PEFT takes the first pattern that a module's path ends with, so a path comes before its own end.
    Comparator<String> longestFirst = Comparator.comparingInt((String module) -> -module.length()).thenComparing(Comparator.naturalOrder());
    factors.keySet().stream()
        .sorted(longestFirst)
        .forEach(
            module -> {
              ExportedFactors found = factors.get(module);
              if (found.rank() != common.get(0).intValue() || found.alpha() != common.get(1)) {
                rankPattern.put(module, found.rank());
                put(alphaPattern, module, found.alpha());
              }
            });
  }

  private static void put(ObjectNode node, String name, double value) {
    if (value == Math.rint(value) && Math.abs(value) < 1e9) {
      node.put(name, (int) value);
    } else {
      node.put(name, value);
    }
  }
}
