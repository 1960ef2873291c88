package io.portllm.internal.patch;

import io.portllm.ModelVersion;
import io.portllm.Shape;
import io.portllm.TensorInfo;
import io.portllm.Tying;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The input embedding and the output head of a language model, recognised by name.
 *
 * @param embedding the embedding's name, if the model has one
 * @param head the name that the head has, or would have if it were stored
 * @param headStored whether the head is stored
 * @param tying whether the two are one matrix
 */
public record Embeddings(Optional<String> embedding, Optional<String> head, boolean headStored, Tying tying) {
  /** Ends of the names of input embeddings of decoders, and what the head is then called. */
  private static final Map<String, String> HEAD_OF =
      Map.of(
          "embed_tokens.weight", "lm_head.weight",
          "wte.weight", "lm_head.weight",
          "transformer.word_embeddings.weight", "lm_head.weight",
          "embed_in.weight", "embed_out.weight",
          "tok_embeddings.weight", "output.weight");

  private static final List<String> VOCABULARY =
      List.of(
          "embed_tokens.weight", "wte.weight", "word_embeddings.weight", "embed_in.weight", "tok_embeddings.weight",
          "shared.weight", "lm_head.weight", "lm_head.bias", "embed_out.weight", "output.weight",
          "cls.predictions.decoder.weight", "cls.predictions.decoder.bias", "cls.predictions.bias");

  static Embeddings of(ModelVersion model) {
    for (TensorInfo tensor : model.tensors()) {
      for (Map.Entry<String, String> pair : HEAD_OF.entrySet()) {
        if (endsWith(tensor.name(), pair.getKey())) {
          Optional<String> stored =
              model.tensors().stream().map(TensorInfo::name).filter(name -> endsWith(name, pair.getValue())).findFirst();
          return new Embeddings(
              Optional.of(tensor.name()),
              Optional.of(stored.orElse(pair.getValue())),
              stored.isPresent(),
              tying(model.config(), stored.isPresent()));
        }
      }
    }
    return new Embeddings(Optional.empty(), Optional.empty(), false, Tying.UNTIED);
  }

  /** Whether the embeddings of {@code model} are tied. */
  public static Tying tying(ModelVersion model) {
    return of(model).tying();
  }

  /** Whether the rows of the tensor called {@code name} stand for tokens. */
  public static boolean isVocabulary(String name) {
    return VOCABULARY.stream().anyMatch(end -> endsWith(name, end));
  }

  /** Whether the rows of the tensor called {@code tensor} stand for tokens, and the shapes differ in their number alone. */
  static boolean differInRowsOnly(String tensor, Shape one, Shape other) {
    return isVocabulary(tensor) && one.rank() == other.rank() && one.rank() >= 1 && one.withRows(0).equals(other.withRows(0));
  }

  private static Tying tying(Map<String, String> config, boolean headStored) {
    String flag = config.getOrDefault("tie_word_embeddings", config.get("text_config.tie_word_embeddings"));
    if ("true".equals(flag)) {
      return Tying.TIED;
    }
    if (headStored || "false".equals(flag)) {
      return Tying.UNTIED;
    }
    // transformers leaves a head out of the file only where it is tied, and out of the model only where there is no language head.
    String architecture = config.get("architectures.0");
    boolean languageModel =
        architecture == null
            || architecture.endsWith("ForCausalLM")
            || architecture.endsWith("LMHeadModel")
            || architecture.endsWith("ForConditionalGeneration");
    return languageModel ? Tying.TIED : Tying.UNTIED;
  }

  private static boolean endsWith(String name, String end) {
    return name.endsWith(end) && (name.length() == end.length() || name.charAt(name.length() - end.length() - 1) == '.');
  }
}
