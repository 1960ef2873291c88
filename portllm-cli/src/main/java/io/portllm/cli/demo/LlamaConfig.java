package io.portllm.cli.demo;

import io.portllm.ModelVersion;
import io.portllm.internal.text.Names;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/**
 * The sizes and settings of a Llama model, as {@code config.json} gives them.
 *
 * @param vocabulary number of token ids
 * @param hidden width of the residual stream
 * @param intermediate width of the feed-forward layer
 * @param layers number of decoder layers
 * @param heads number of query heads
 * @param keyValueHeads number of key and value heads, which divides {@code heads}
 * @param headSize width of one head, even
 * @param positions the longest sequence, in tokens
 * @param normEpsilon what RMSNorm adds to the mean square
 * @param ropeTheta the base of the rotary frequencies
 * @param tied whether the embedding is the output head too
 * @param endTokens ids that end a text
 */
record LlamaConfig(
    int vocabulary,
    int hidden,
    int intermediate,
    int layers,
    int heads,
    int keyValueHeads,
    int headSize,
    int positions,
    float normEpsilon,
    double ropeTheta,
    boolean tied,
    Set<Integer> endTokens) {
  LlamaConfig {
    endTokens = Set.copyOf(endTokens);
  }

  /**
   * Reads the configuration of {@code model}.
   *
   * @throws IllegalArgumentException if it is no plain Llama, or a setting is missing or no valid number
   */
  static LlamaConfig of(ModelVersion model) {
    Reader reader = new Reader(model.name(), model.config());
    reader.demand("model_type", "llama", "");
    reader.demand("hidden_act", "silu", "silu");
    reader.demand("attention_bias", "false", "false");
    reader.demand("mlp_bias", "false", "false");
    reader.demand("rope_parameters.rope_type", "default", "default");
    reader.demand("rope_scaling.rope_type", "default", "default");
    reader.demand("rope_scaling.type", "default", "default");

    int hidden = reader.positive("hidden_size", null);
    int heads = reader.positive("num_attention_heads", null);
    int keyValueHeads = reader.positive("num_key_value_heads", heads);
    int headSize = reader.positive("head_dim", hidden / heads);
    if (heads % keyValueHeads != 0) {
      throw reader.refusal("num_key_value_heads", "a divisor of num_attention_heads, " + heads, Integer.toString(keyValueHeads));
    }
    if (headSize % 2 != 0) {
      throw reader.refusal("head_dim", "even", Integer.toString(headSize));
    }
    return new LlamaConfig(
        reader.positive("vocab_size", null),
        hidden,
        reader.positive("intermediate_size", null),
        reader.positive("num_hidden_layers", null),
        heads,
        keyValueHeads,
        headSize,
        reader.positive("max_position_embeddings", 2048),
        (float) reader.number("rms_norm_eps", 1e-6),
        reader.number("rope_parameters.rope_theta", reader.number("rope_theta", 10000)),
        Boolean.parseBoolean(reader.text("tie_word_embeddings", "false")),
        reader.integers("eos_token_id"));
  }

  /** Typed access to a flattened configuration; defaults are those of Hugging Face's LlamaConfig. */
  private record Reader(String model, Map<String, String> config) {
    String text(String key, String absent) {
      String value = config.get(key);
      return value == null || value.equals("null") ? absent : value;
    }

    void demand(String key, String wanted, String absent) {
      String value = text(key, absent);
      if (!value.equals(wanted)) {
        throw refusal(key, Names.quote(wanted), Names.quote(value));
      }
    }

    int positive(String key, Integer absent) {
      String value = text(key, absent == null ? "" : absent.toString());
      if (!value.matches("[1-9][0-9]{0,8}")) {
        throw refusal(key, "a positive integer", Names.quote(value));
      }
      return Integer.parseInt(value);
    }

    double number(String key, double absent) {
      String value = text(key, Double.toString(absent));
      double number;
      try {
        number = Double.parseDouble(value);
      } catch (NumberFormatException e) {
        number = Double.NaN;
      }
      if (!(number > 0) || Double.isInfinite(number)) {
        throw refusal(key, "a positive number", Names.quote(value));
      }
      return number;
    }

    /** A number, or a list of numbers, flattened to {@code key.0}, {@code key.1} and so on; empty where there is none. */
    Set<Integer> integers(String key) {
      Set<Integer> values = new TreeSet<>();
      config.forEach((name, value) -> {
        if ((name.equals(key) || name.startsWith(key + ".")) && value.matches("[0-9]{1,9}")) {
          values.add(Integer.valueOf(value));
        }
      });
      return values;
    }

    IllegalArgumentException refusal(String key, String wanted, String found) {
      return new IllegalArgumentException("[" + model + "] config " + key + " must be " + wanted + " but was " + found);
    }
  }
}
