package io.portllm.cli.demo;

import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.Shape;
import io.portllm.TensorInfo;
import io.portllm.internal.text.Names;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HashSet;
import java.util.Optional;
import java.util.Set;

/**
 * All weights of a Llama model as float32.
 *
 * <p>Projections are kept as one array for each input, that is, transposed: a product is then a sum of scaled arrays, a loop that
 * the JIT compiler turns into vector instructions, which it may not do to a sum of products.
 *
 * @param embedding vocabulary × hidden
 * @param layers the decoder layers, first to last
 * @param norm the last RMSNorm's weights
 * @param head hidden × vocabulary
 */
record LlamaWeights(float[][] embedding, Layer[] layers, float[] norm, float[][] head) {
  /**
   * One decoder layer.
   *
   * @param attentionNorm hidden
   * @param query hidden × (heads · head size)
   * @param key hidden × (key-value heads · head size)
   * @param value as {@code key}
   * @param output (heads · head size) × hidden
   * @param feedForwardNorm hidden
   * @param gate hidden × intermediate
   * @param up hidden × intermediate
   * @param down intermediate × hidden
   */
  record Layer(
      float[] attentionNorm,
      float[][] query,
      float[][] key,
      float[][] value,
      float[][] output,
      float[] feedForwardNorm,
      float[][] gate,
      float[][] up,
      float[][] down) {}

  /**
   * Reads and widens the weights of {@code model}.
   *
   * @throws IllegalArgumentException if a tensor is missing, is none of a Llama's, or has another shape or a type other than F32,
   *     F16 and BF16
   */
  static LlamaWeights read(ModelVersion model, LlamaConfig config) throws IOException {
    Reader reader = new Reader(model, new HashSet<>());
    int hidden = config.hidden();
    int queries = config.heads() * config.headSize();
    int keys = config.keyValueHeads() * config.headSize();
    float[][] embedding = rows(reader.tensor("model.embed_tokens", config.vocabulary(), hidden), config.vocabulary(), hidden);
    Layer[] layers = new Layer[config.layers()];
    for (int i = 0; i < layers.length; i++) {
      String layer = "model.layers." + i + ".";
      layers[i] = new Layer(
          reader.tensor(layer + "input_layernorm", hidden),
          reader.projection(layer + "self_attn.q_proj", queries, hidden),
          reader.projection(layer + "self_attn.k_proj", keys, hidden),
          reader.projection(layer + "self_attn.v_proj", keys, hidden),
          reader.projection(layer + "self_attn.o_proj", hidden, queries),
          reader.tensor(layer + "post_attention_layernorm", hidden),
          reader.projection(layer + "mlp.gate_proj", config.intermediate(), hidden),
          reader.projection(layer + "mlp.up_proj", config.intermediate(), hidden),
          reader.projection(layer + "mlp.down_proj", hidden, config.intermediate()));
    }
    float[] norm = reader.tensor("model.norm", hidden);
    String head = config.tied() ? "model.embed_tokens" : "lm_head";
    LlamaWeights weights = new LlamaWeights(embedding, layers, norm, reader.projection(head, config.vocabulary(), hidden));
    reader.refuseOthers();
    return weights;
  }

  private static float[][] rows(float[] values, int rows, int columns) {
    float[][] matrix = new float[rows][columns];
    for (int row = 0; row < rows; row++) {
      System.arraycopy(values, row * columns, matrix[row], 0, columns);
    }
    return matrix;
  }

  /** Reads tensors and remembers which. */
  private record Reader(ModelVersion model, Set<String> seen) {
    /** A matrix stored outputs × inputs, as inputs × outputs. */
    float[][] projection(String module, int outputs, int inputs) throws IOException {
      float[] values = tensor(module, outputs, inputs);
      float[][] matrix = new float[inputs][outputs];
      for (int output = 0; output < outputs; output++) {
        for (int input = 0; input < inputs; input++) {
          matrix[input][output] = values[output * inputs + input];
        }
      }
      return matrix;
    }

    float[] tensor(String module, long... dimensions) throws IOException {
      String name = module + ".weight";
      seen.add(name);
      Optional<TensorInfo> found = model.find(name);
      if (found.isEmpty()) {
        throw refusal(name, "must be there but is not");
      }
      TensorInfo info = found.get();
      Shape shape = Shape.of(dimensions);
      if (!info.shape().equals(shape)) {
        throw refusal(name, "shape must be " + shape + " but was " + info.shape());
      }
      DType dtype = info.dtype();
      if (dtype != DType.F32 && dtype != DType.F16 && dtype != DType.BF16) {
        throw refusal(name, "type must be F32, F16 or BF16 but was " + dtype);
      }
      ByteBuffer bytes = ByteBuffer.allocate(Math.toIntExact(info.bytes())).order(ByteOrder.LITTLE_ENDIAN);
      model.read(info, 0, bytes);
      bytes.flip();
      return widen(bytes, dtype, Math.toIntExact(info.elements()));
    }

    void refuseOthers() {
      for (TensorInfo info : model.tensors()) {
        if (!seen.contains(info.name())) {
          throw refusal(info.name(), "is none that a plain Llama has");
        }
      }
    }

    IllegalArgumentException refusal(String tensor, String message) {
      return new IllegalArgumentException("[" + model.name() + "] tensor " + Names.quote(tensor) + ": " + message);
    }
  }

  static float[] widen(ByteBuffer bytes, DType dtype, int elements) {
    float[] values = new float[elements];
    for (int i = 0; i < elements; i++) {
      values[i] = switch (dtype) {
        case F32 -> bytes.getFloat(4 * i);
        case BF16 -> Float.intBitsToFloat(bytes.getShort(2 * i) << 16);
        case F16 -> widenHalf(bytes.getShort(2 * i));
        default -> throw new IllegalArgumentException("type must be F32, F16 or BF16 but was " + dtype);
      };
    }
    return values;
  }

  private static float widenHalf(short bits) {
    int exponent = bits >> 10 & 0x1f;
    int mantissa = bits & 0x3ff;
    float magnitude = switch (exponent) {
      case 0 -> mantissa * 0x1p-24f;
      case 0x1f -> mantissa == 0 ? Float.POSITIVE_INFINITY : Float.NaN;
      default -> Float.intBitsToFloat(exponent + 112 << 23 | mantissa << 13);
    };
    return bits < 0 ? -magnitude : magnitude;
  }
}
