package io.portllm;

import io.portllm.internal.patch.Differences;
import io.portllm.internal.patch.GrownModel;
import io.portllm.internal.patch.PatchedModel;
import io.portllm.internal.text.Names;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * One version of a model: named tensors whose values are read on demand.
 *
 * <p>A checkpoint on disk, a map of arrays in memory and a patched version are all model versions. Implementations are
 * immutable and safe for use by many threads until closed; {@link #close} may be called more than once.
 */
public interface ModelVersion extends FineTuned, AutoCloseable {
  /** The weight files, in the order in which they are written. Every tensor is in exactly one. */
  List<Shard> shards();

  /** All tensors, in the order of the shards. */
  List<TensorInfo> tensors();

  /** The tensor of this name. */
  Optional<TensorInfo> find(String name);

  /**
   * The model's configuration ({@code config.json}), flattened: {@code rope_parameters.rope_theta} to {@code 10000.0},
   * {@code architectures.0} to {@code LlamaForCausalLM}. Empty where there is none.
   */
  default Map<String, String> config() {
    return Map.of();
  }

  /** The files beside the weights, which a ported model keeps. */
  default List<SideFile> sideFiles() {
    return List.of();
  }

  /**
   * Which token each row of the embedding and the head stands for; empty where it is not known. Read when it is first asked for.
   *
   * @throws IOException if the tokenizer could not be read, or is malformed
   */
  default Vocabulary vocabulary() throws IOException {
    return Vocabulary.empty();
  }

  /**
   * Reads bytes of a tensor (little-endian elements or blocks in C order) until {@code destination} is full.
   *
   * @param tensor one of {@link #tensors}
   * @param offset the first byte, counted from the start of the tensor; a multiple of the element size, or any if elements have none
   *     of their own in bytes, as those of quantised types
   * @param destination filled from its position to its limit
   * @throws IllegalArgumentException if the range does not lie within the tensor
   * @throws IllegalStateException if this version was closed
   * @throws IOException if reading failed, or the file changed since it was opened
   */
  void read(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException;

  /**
   * Checks that nothing changed underneath since this version was opened.
   *
   * @throws IOException naming the file that changed
   */
  default void verifyUnchanged() throws IOException {}

  /**
   * What to throw where the content of a tensor, once read, turns out to break a rule.
   *
   * @param tensor one of {@link #tensors}
   * @param rule the rule's short name
   * @param message what was expected and found; does not repeat the tensor's name
   * @return an exception that names the tensor, and the file if there is one
   */
  default IOException malformed(TensorInfo tensor, String rule, String message) {
    return new IOException("tensor " + Names.quote(tensor.name()) + " " + message + " (" + rule + ")");
  }

  @Override
  void close() throws IOException;

  /** The tensor of this name as something to read from. */
  default Optional<Tensor> tensor(String name) {
    return find(name).map(info -> new Tensor(this, info));
  }

  /**
   * This version as patches see it: tensors named and shaped as in a Hugging Face checkpoint, and of types with arithmetic wherever they
   * can be changed. It is this version itself unless the format that it is stored in names, orders or quantises weights in another way.
   *
   * @return a version usable as long as this one is open; closing it does not close this one
   */
  default ModelVersion decoded() {
    return this;
  }

  /**
   * This version with room for more tokens: in every embedding and head, tokens that it lacks have rows after its last token, and all rows
   * of {@code tokens} are negative zeros, to which a change can be added without rounding. The tokenizer and the configuration say so.
   *
   * @param tokens the tokens, of which this version may have some
   * @return a version usable as long as this one is open; closing it does not close this one
   * @throws IncompatibleModelException if its tokenizer or configuration cannot be given more tokens, with the reason
   * @throws IOException if the tokenizer or the configuration could not be read
   */
  default ModelVersion withTokens(List<AddedToken> tokens) throws IOException {
    throw GrownModel.refusal(this, "there is no tokenizer.json that tokens could be added to");
  }

  /**
   * This version with {@code patch} on it, stored as this one is. {@link Patch#applyTo} calls it.
   *
   * @return a version usable as long as this one and what the patch was made from are open
   * @throws IncompatibleModelException if the patch does not fit, with every mismatch
   */
  default ModelVersion patched(Patch patch, MergeOptions options) {
    return PatchedModel.of(patch, this, options);
  }

  @Override
  default Patch changesFrom(ModelVersion base, MergeOptions options) {
    return Differences.between(decoded(), base.decoded(), options);
  }
}
