package io.portllm.io.internal.gguf.lora;

import com.google.common.collect.ImmutableMap;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.internal.text.Names;
import io.portllm.io.MalformedModelException;
import io.portllm.io.internal.gguf.GgufMetadata;
import io.portllm.io.internal.gguf.GgufModel;
import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/**
 * The contents of an adapter: factors of tensors, and norms saved whole. Shapes are outermost dimension first.
 *
 * @param architecture of the model that it is for
 * @param alpha what the scale is alpha / rank of; 0 stands for a scale of 1
 * @param factors of each tensor, by its name
 * @param norms new values by the name of their tensor; llama.cpp ignores them
 */
public record LoraFile(String architecture, double alpha, Map<String, Factors> factors, Map<String, Tensor> norms) {
  static final String A = ".lora_a";
  static final String B = ".lora_b";
  static final String TYPE = "general.type";
  static final String KIND = "adapter.type";
  static final String ALPHA = "adapter.lora.alpha";
  private static final String ALORA = "adapter.alora.invocation_tokens";

  /** The tensor whose factors llama.cpp stores in another orientation: it looks rows of A up. */
  static final String EMBEDDING = "token_embd.weight";

  /**
   * Two factors.
   *
   * @param a rank × in, or experts × rank × in; of the embedding, tokens × rank
   * @param b out × rank, or experts × out × rank
   */
  public record Factors(Tensor a, Tensor b) {
    /** The inner dimension. */
    long rank() {
      return b.info().shape().dimension(b.info().shape().rank() - 1);
    }
  }

  public LoraFile {
    factors = ImmutableMap.copyOf(factors);
    norms = ImmutableMap.copyOf(norms);
  }

  /** Whether a GGUF file says that it is an adapter. */
  public static boolean isAdapter(GgufModel file) throws IOException {
    GgufMetadata metadata = file.metadata();
    return metadata.has(TYPE) && metadata.string(TYPE).filter("adapter"::equals).isPresent();
  }

  /**
   * Reads an adapter's metadata and pairs its tensors.
   *
   * @throws MalformedModelException if it breaks a rule of the format, or is of a kind that no weights can be merged of
   */
  public static LoraFile read(GgufModel file) throws IOException {
    GgufMetadata metadata = file.metadata();
    Path path = file.path();
    if (!isAdapter(file)) {
      throw new MalformedModelException(path, "GA-TYPE", -1, "must say that it is an adapter (general.type)");
    }
    String kind = metadata.string(KIND).orElse("");
    if (!kind.equals("lora")) {
      throw new MalformedModelException(
          path, "GA-KIND", -1, "must be of the kind 'lora' (adapter.type) but is of the kind " + Names.quote(kind));
    }
    if (metadata.has(ALORA)) {
      throw new MalformedModelException(
          path, "GA-KIND", -1, "is an activated LoRA, which changes only what follows certain tokens, and no weights (" + ALORA + ")");
    }
    double alpha = metadata.number(ALPHA).orElse(0);
    if (!Double.isFinite(alpha)) {
      throw new MalformedModelException(path, "GA-ALPHA", -1, "must have a finite alpha (" + ALPHA + ") but it is " + alpha);
    }
    return new LoraFile(metadata.architecture().orElse(""), alpha, factors(file), norms(file));
  }

  private static Map<String, Tensor> norms(GgufModel file) {
    Map<String, Tensor> norms = new LinkedHashMap<>();
    for (TensorInfo tensor : file.tensors()) {
      if (tensor.name().endsWith("_norm.weight")) {
        norms.put(tensor.name(), new Tensor(file, tensor));
      }
    }
    return norms;
  }

  private static Map<String, Factors> factors(GgufModel file) throws MalformedModelException {
    Map<String, Factors> factors = new LinkedHashMap<>();
    for (TensorInfo tensor : file.tensors()) {
      String name = tensor.name();
      if (name.endsWith(A)) {
        String target = name.substring(0, name.length() - A.length());
        factors.put(target, pair(file, target, tensor, file.find(target + B)));
      } else if (name.endsWith(B)) {
        if (file.find(name.substring(0, name.length() - B.length()) + A).isEmpty()) {
          throw malformed(file, tensor, "GA-PAIR", "has no factor " + A + " beside it");
        }
      } else if (!name.endsWith("_norm.weight")) {
        throw malformed(file, tensor, "GA-NAME", "must be a factor (" + A + " or " + B + ") or a norm (_norm.weight)");
      }
    }
    return factors;
  }

  private static Factors pair(GgufModel file, String target, TensorInfo a, Optional<TensorInfo> b) throws MalformedModelException {
    if (b.isEmpty()) {
      throw malformed(file, a, "GA-PAIR", "has no factor " + B + " beside it");
    }
    Shape left = b.get().shape();
    Shape right = a.shape();
    int rank = right.rank();
    boolean matrices = rank == left.rank() && (rank == 2 || rank == 3) && left.elements() > 0 && right.elements() > 0;
    if (!matrices || left.dimension(rank - 1) != right.dimension(target.equals(EMBEDDING) ? rank - 1 : rank - 2)) {
      throw malformed(file, a, "GA-SHAPE", "of shape " + right + " is no factor beside one of shape " + left);
    }
    for (TensorInfo factor : new TensorInfo[] {a, b.get()}) {
      if (!factor.dtype().isArithmetic() && !factor.dtype().isQuantised()) {
        throw malformed(file, factor, "GA-SHAPE", "must hold numbers with a fraction but is " + factor.dtype());
      }
    }
    return new Factors(new Tensor(file, a), new Tensor(file, b.get()));
  }

  private static MalformedModelException malformed(GgufModel file, TensorInfo tensor, String rule, String message) {
    return new MalformedModelException(file.path(), rule, -1, "tensor " + Names.quote(tensor.name()) + " " + message);
  }
}
