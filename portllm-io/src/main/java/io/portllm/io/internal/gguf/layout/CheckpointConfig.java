package io.portllm.io.internal.gguf.layout;

import com.google.common.primitives.Longs;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** Reads hyperparameters from the configuration of a Hugging Face checkpoint. */
public final class CheckpointConfig {
  private static final String TEXT = "text_config.";

  private CheckpointConfig() {}

  /**
   * The hyperparameters of the GGUF file that a checkpoint would be converted to.
   *
   * @param config {@code config.json}, flattened; of a multimodal model, its {@code text_config} counts
   * @return them, with the name of the class as architecture if no architecture is known that it becomes
   */
  public static Hyperparameters hyperparameters(Map<String, String> config) {
    String name = config.getOrDefault("architectures.0", "");
    Optional<Family> family = Families.ofClass(name);
    Optional<Long> heads = number(config, "num_attention_heads", "n_head", "n_heads");
    return new Hyperparameters(family.map(Family::architecture).orElse(name), heads.stream().toList(), keyValueHeads(config, heads));
  }

  private static List<Long> keyValueHeads(Map<String, String> config, Optional<Long> heads) {
    if (flag(config, "multi_query") && !flag(config, "new_decoder_architecture")) {
      return List.of(1L);
    }
    return number(config, "num_key_value_heads", "num_kv_heads", "n_head_kv").or(() -> heads).stream().toList();
  }

  private static boolean flag(Map<String, String> config, String key) {
    return "true".equals(config.get(key));
  }

  private static Optional<Long> number(Map<String, String> config, String... keys) {
    for (String prefix : List.of("", TEXT)) {
      for (String key : keys) {
        String value = config.get(prefix + key);
        Long parsed = value == null ? null : Longs.tryParse(value);
        if (parsed != null) {
          return Optional.of(parsed);
        }
      }
    }
    return Optional.empty();
  }
}
