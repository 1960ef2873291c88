package io.portllm.io.internal.gguf.layout;

/** What a checkpoint's names start with: the classes of transformers nest the same model in different ways. */
enum Spelling {
  /** As causal language models are stored: {@code model.layers.…}, {@code transformer.h.…}. */
  PLAIN {
    @Override
    String of(String name) {
      return name;
    }
  },

  /** Without the name of the inner model: {@code layers.…}, {@code h.…}. GPT-2 and BLOOM are published so, and headless models. */
  BARE {
    @Override
    String of(String name) {
      return name.replaceFirst("^(model|transformer|gpt_neox)\\.", "");
    }
  },

  /** The language model of a multimodal model, as transformers 5 names it in memory: {@code model.language_model.layers.…}. */
  INNER {
    @Override
    String of(String name) {
      return name.replaceFirst("^model\\.", "model.language_model.");
    }
  },

  /** The language model of a multimodal model, as it is published: {@code language_model.model.layers.…}. */
  OUTER {
    @Override
    String of(String name) {
      return "language_model." + name;
    }
  };

  /** The name or template so spelled. */
  abstract String of(String name);
}
