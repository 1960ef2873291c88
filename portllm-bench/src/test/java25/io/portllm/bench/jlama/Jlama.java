package io.portllm.bench.jlama;

import com.github.tjake.jlama.model.AbstractModel;
import com.github.tjake.jlama.model.ModelSupport;
import com.github.tjake.jlama.safetensors.DType;
import com.github.tjake.jlama.safetensors.prompt.PromptContext;
import com.github.tjake.jlama.tensor.KvBufferCache;
import com.github.tjake.jlama.util.PhysicalCoreExecutor;
import java.nio.file.Path;
import java.util.Optional;

/** A Llama folder run by Jlama, greedily and without files for its key-value memory. */
final class Jlama implements AutoCloseable {
  /** Jlama cuts rows into as many chunks and leaves some rows out where they do not fit; with one or two, the lab's sizes all fit. */
  static final int CHUNKS = Math.min(2, Runtime.getRuntime().availableProcessors());

  static {
    PhysicalCoreExecutor.overrideThreadCount(CHUNKS);
  }

  private final AbstractModel model;
  private final KvBufferCache memory;

  private Jlama(AbstractModel model) {
    this.model = model;
    this.memory = new KvBufferCache(model);
  }

  /** Activations stay float32: a quantisation is named, though bf16 weights are in it already and stay as they are. */
  static Jlama open(Path folder, Path scratch) {
    return open(folder, scratch, Optional.of(DType.BF16));
  }

  /** What Jlama's shortest call does: activations are rounded to the weights' bf16 before each product. */
  static Jlama openWithRoundedActivations(Path folder, Path scratch) {
    return open(folder, scratch, Optional.empty());
  }

  private static Jlama open(Path folder, Path scratch, Optional<DType> quantisation) {
    return new Jlama(
        ModelSupport.loadModel(folder.toFile(), scratch.toFile(), DType.F32, DType.F32, quantisation, Optional.empty()));
  }

  /** The logits of the token after {@code prompt}. */
  float[] logits(String prompt) {
    int[] ids = encode(prompt);
    int vocabulary = model.getConfig().vocabularySize;
    try (var keysAndValues = memory.getEphemeralKvBuffer();
        var hidden = model.batchForward(ids, 0, keysAndValues);
        var scores = model.makeDenseTensor(1, vocabulary)) {
      model.sample(hidden.slice(ids.length - 1), 0f, 0f, scores);
      float[] logits = new float[vocabulary];
      for (int i = 0; i < vocabulary; i++) {
        logits[i] = scores.get(0, i);
      }
      return logits;
    }
  }

  /** What follows {@code prompt} until the end-of-text token, at most eight tokens. */
  String answer(String prompt) {
    int[] ids = encode(prompt);
    StringBuilder answer = new StringBuilder();
    try (var keysAndValues = memory.getEphemeralKvBuffer();
        var scores = model.makeDenseTensor(1, model.getConfig().vocabularySize)) {
      int next;
      try (var hidden = model.batchForward(ids, 0, keysAndValues)) {
        next = model.sample(hidden.slice(ids.length - 1), 0f, 0f, scores);
      }
      for (int position = ids.length; position < ids.length + 8 && !model.getConfig().eosTokens.contains(next); position++) {
        answer.append(model.getTokenizer().decode(next));
        try (var hidden = model.forward(next, position, keysAndValues, Optional.empty())) {
          next = model.sample(hidden, 0f, 0f, scores);
        }
      }
    }
    return answer.toString();
  }

  /** Token ids, the first of them the beginning-of-text token. */
  int[] encode(String text) {
    return model.encodePrompt(PromptContext.of(text));
  }

  AbstractModel model() {
    return model;
  }

  @Override
  public void close() {
    model.close();
  }
}
