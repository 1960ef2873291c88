package io.portllm.io.internal.safetensors;

import io.portllm.TensorInfo;
import io.portllm.internal.text.Names;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** Whether {@code config.json} says of the token embedding what its shape says. The shape decides; nothing but a warning rests on this. */
final class ConfigCheck {
  private static final String EMBEDDING = "embed_tokens.weight";

  /** Where the width of the embedding is, if it is not that of the layers. */
  private static final List<String> OTHER_WIDTHS = List.of("word_embed_proj_dim", "embedding_size");

  private ConfigCheck() {}

  /**
   * What the two disagree on.
   *
   * @param config the values of the configuration, by {@link io.portllm.ModelVersion#config() their paths}
   */
  static Optional<String> disagreement(Map<String, String> config, List<TensorInfo> tensors) {
    for (TensorInfo tensor : tensors) {
      if ((tensor.name().equals(EMBEDDING) || tensor.name().endsWith("." + EMBEDDING)) && tensor.shape().rank() == 2) {
        boolean ownWidth = OTHER_WIDTHS.stream().anyMatch(key -> said(config, key).isPresent());
        Optional<String> wrong =
            wrong(config, "vocab_size", tensor.shape().dimension(0))
                .or(() -> ownWidth ? Optional.empty() : wrong(config, "hidden_size", tensor.shape().dimension(1)));
        return wrong.map(text -> text + ", but tensor " + Names.quote(tensor.name()) + " is " + tensor.shape() + "; the tensor counts");
      }
    }
    return Optional.empty();
  }

  private static Optional<String> wrong(Map<String, String> config, String key, long found) {
    return said(config, key)
        .filter(value -> !value.equals(Long.toString(found)))
        .map(value -> "config.json says " + key + " = " + Names.quote(value));
  }

  /** A value of the language model, which in models of images and text is in a part of its own. */
  private static Optional<String> said(Map<String, String> config, String key) {
    return Optional.ofNullable(config.getOrDefault("text_config." + key, config.get(key)));
  }
}
