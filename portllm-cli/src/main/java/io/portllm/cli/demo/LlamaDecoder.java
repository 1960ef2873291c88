package io.portllm.cli.demo;

import java.util.Arrays;

/**
 * One text going through a Llama model, with the keys and values of the tokens so far. For use by one thread.
 *
 * <p>The arithmetic is float32 in a fixed order. Rotary embedding pairs dimension i of a head with i + half, as Hugging Face's
 * checkpoints are laid out.
 */
final class LlamaDecoder {
  private final LlamaConfig config;
  private final LlamaWeights weights;
  private final int capacity;
  /** By layer, then position. */
  private final float[][][] keys;
  private final float[][][] values;
  private final float[] cos;
  private final float[] sin;
  private final float[] normed;
  private final float[] projected;
  private final float[] query;
  private final float[] mixed;
  private final float[] gate;
  private final float[] up;
  private final float[] scores;
  private int position;

  /**
   * A decoder at the start of a text.
   *
   * @param capacity the most tokens that will be fed
   * @throws IllegalArgumentException if the model has fewer positions
   */
  LlamaDecoder(LlamaConfig config, LlamaWeights weights, int capacity) {
    if (capacity > config.positions()) {
      throw new IllegalArgumentException("text must have at most " + config.positions() + " tokens but has " + capacity);
    }
    this.config = config;
    this.weights = weights;
    this.capacity = capacity;
    int queryWidth = config.heads() * config.headSize();
    int keyWidth = config.keyValueHeads() * config.headSize();
    this.keys = new float[config.layers()][capacity][keyWidth];
    this.values = new float[config.layers()][capacity][keyWidth];
    this.cos = new float[config.headSize() / 2];
    this.sin = new float[config.headSize() / 2];
    this.normed = new float[config.hidden()];
    this.projected = new float[config.hidden()];
    this.query = new float[queryWidth];
    this.mixed = new float[queryWidth];
    this.gate = new float[config.intermediate()];
    this.up = new float[config.intermediate()];
    this.scores = new float[capacity];
  }

  /**
   * Appends tokens.
   *
   * @param tokens at least one id
   * @return the logits of the token that follows them, a new array
   * @throws IllegalArgumentException if there are no tokens, an id is none of the vocabulary, or the capacity is exceeded
   */
  float[] feed(int... tokens) {
    if (tokens.length == 0 || tokens.length > capacity - position) {
      throw new IllegalArgumentException("tokens must be 1 to " + (capacity - position) + " but were " + tokens.length);
    }
    float[] stream = null;
    for (int token : tokens) {
      stream = step(token);
    }
    float[] logits = new float[config.vocabulary()];
    norm(stream, weights.norm(), normed);
    multiply(normed, weights.head(), logits);
    return logits;
  }

  /** Appends one token; returns the residual stream after the last layer. */
  private float[] step(int token) {
    if (token < 0 || token >= config.vocabulary()) {
      throw new IllegalArgumentException("token must be 0 to " + (config.vocabulary() - 1) + " but was " + token);
    }
    float[] stream = weights.embedding()[token].clone();
    setAngles();
    for (int i = 0; i < weights.layers().length; i++) {
      LlamaWeights.Layer layer = weights.layers()[i];

      norm(stream, layer.attentionNorm(), normed);
      multiply(normed, layer.query(), query);
      multiply(normed, layer.key(), keys[i][position]);
      multiply(normed, layer.value(), values[i][position]);
      rotate(query);
      rotate(keys[i][position]);
      attend(keys[i], values[i]);
      multiply(mixed, layer.output(), projected);
      add(projected, stream);

      norm(stream, layer.feedForwardNorm(), normed);
      multiply(normed, layer.gate(), gate);
      multiply(normed, layer.up(), up);
      for (int j = 0; j < gate.length; j++) {
        gate[j] = gate[j] / (1 + (float) Math.exp(-gate[j])) * up[j];
      }
      multiply(gate, layer.down(), projected);
      add(projected, stream);
    }
    position++;
    return stream;
  }

  /** Softmax attention of each query head over the keys up to this position; heads in a group share a key-value head. */
  private void attend(float[][] layerKeys, float[][] layerValues) {
    int size = config.headSize();
    int group = config.heads() / config.keyValueHeads();
    float scale = (float) (1 / Math.sqrt(size));
    for (int head = 0; head < config.heads(); head++) {
      int from = head * size;
      int sharedFrom = head / group * size;
      float highest = Float.NEGATIVE_INFINITY;
      for (int at = 0; at <= position; at++) {
        float score = 0;
        for (int d = 0; d < size; d++) {
          score += query[from + d] * layerKeys[at][sharedFrom + d];
        }
        scores[at] = score * scale;
        highest = Math.max(highest, scores[at]);
      }
      float sum = 0;
      for (int at = 0; at <= position; at++) {
        scores[at] = (float) Math.exp(scores[at] - highest);
        sum += scores[at];
      }
      Arrays.fill(mixed, from, from + size, 0);
      for (int at = 0; at <= position; at++) {
        float share = scores[at] / sum;
        for (int d = 0; d < size; d++) {
          mixed[from + d] += share * layerValues[at][sharedFrom + d];
        }
      }
    }
  }

  private void setAngles() {
    for (int i = 0; i < cos.length; i++) {
      float frequency = (float) (1 / Math.pow(config.ropeTheta(), 2.0 * i / config.headSize()));
      float angle = position * frequency;
      cos[i] = (float) Math.cos(angle);
      sin[i] = (float) Math.sin(angle);
    }
  }

  private void rotate(float[] heads) {
    int half = cos.length;
    for (int from = 0; from < heads.length; from += 2 * half) {
      for (int i = 0; i < half; i++) {
        float first = heads[from + i];
        float second = heads[from + half + i];
        heads[from + i] = first * cos[i] - second * sin[i];
        heads[from + half + i] = second * cos[i] + first * sin[i];
      }
    }
  }

  private void norm(float[] x, float[] weight, float[] y) {
    float squares = 0;
    for (float value : x) {
      squares += value * value;
    }
    float factor = (float) (1 / Math.sqrt(squares / x.length + config.normEpsilon()));
    for (int i = 0; i < x.length; i++) {
      y[i] = weight[i] * (x[i] * factor);
    }
  }

  private static void multiply(float[] x, float[][] matrix, float[] y) {
    Arrays.fill(y, 0);
    for (int i = 0; i < x.length; i++) {
      addScaled(x[i], matrix[i], y);
    }
  }

  private static void addScaled(float factor, float[] row, float[] y) {
    for (int j = 0; j < y.length; j++) {
      y[j] += factor * row[j];
    }
  }

  private static void add(float[] x, float[] y) {
    for (int j = 0; j < y.length; j++) {
      y[j] += x[j];
    }
  }
}
