package io.portllm.cuda;

import io.portllm.IncompatibleModelException;
import io.portllm.MergeOptions;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.Rounding;
import io.portllm.internal.cuda.Devices;
import io.portllm.internal.cuda.LoadedModel;
import java.io.IOException;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;

/**
 * A model in the memory of a GPU, on which one patch after another is put in place.
 *
 * <p>{@snippet :
 * try (ResidentModel model = ResidentModel.load(base, Originals.KEPT);
 *     ResidentPatch clinic = model.prepare(clinicPatch, MergeOptions.defaults());
 *     ResidentPatch lawFirm = model.prepare(lawFirmPatch, MergeOptions.defaults())) {
 *   model.apply(clinic);
 *   model.apply(lawFirm); // in place of the first
 *   model.undo(); // every bit as loaded
 * }
 * }
 *
 * <p>Weights lie one tensor after the other, each from a multiple of 256 bytes on, as the model has them: little-endian, in C order.
 * They are the same bits that {@link Patch#applyTo} gives. At most one patch is on the model at a time; a sum of patches counts as one, and
 * {@link Patch#plus} rounds once. Whatever lies in memory besides the model's weights, such as an engine's tensors that share it by
 * {@link #address}, sees the weights change: nothing may read them while a method here runs.
 *
 * <p>The model must fit the GPU's memory. {@link io.portllm.Merger#cuda} streams models of any size through it.
 *
 * <p>Safe for use by many threads, one after the other. Methods wait until the GPU is done. What the driver refuses, memory that there is
 * not above all, is an {@link IllegalStateException} with the driver's name for it.
 */
public interface ResidentModel extends AutoCloseable {
  /**
   * Copies a model to the GPU.
   *
   * @param model stays open while this model is used, as do the models that patches were made from. Patches in Hugging Face's names fit a
   *     GGUF model's {@link ModelVersion#decoded} view
   * @param originals where the bits come from that {@link #undo} puts back
   * @throws IllegalStateException if no GPU can be used, as {@link Cuda#problem} says, or the model does not fit its memory
   */
  static ResidentModel load(ModelVersion model, Originals originals) throws IOException {
    return LoadedModel.load(Devices.get(), model, originals);
  }

  /**
   * Works on a model that lies in GPU memory already, in place: an engine's weights, or arrays of a framework, in the primary context of the
   * GPU that {@link Cuda} finds. Nothing is copied. The memory stays its owner's: it must hold the model's bits now, outlive the result, and
   * be used by nothing else while a method runs. {@link #close} frees none of it, and leaves a patch on that is on.
   *
   * @param model what lies there. With {@link Originals#READ_AGAIN} its bits are read to take a patch off, so that it must not itself read
   *     the memory that patches change
   * @param addresses where each tensor lies, in the order of its elements without gaps, from a multiple of 16 bytes on
   * @throws IllegalArgumentException if a tensor has no address, or one that is not such a multiple
   * @throws IllegalStateException if no GPU can be used, as {@link Cuda#problem} says
   */
  static ResidentModel over(ModelVersion model, Map<String, Long> addresses, Originals originals) {
    return LoadedModel.over(Devices.get(), model, addresses, originals);
  }

  /** The model that was loaded. */
  ModelVersion source();

  /**
   * Puts what a patch needs into GPU memory, so that it can be applied at once, again and again: low-rank factors, and changed values.
   * Does not change the model.
   *
   * @param options as for {@link Patch#applyTo}; the merger in them is not used, but where weights are computed on the processor: F64
   *     weights, and those of patches that are not added but replace or flip bits
   * @return to be closed before this model is
   * @throws IncompatibleModelException if the patch does not fit the model that was loaded, or adds or removes tensors or changes their
   *     shapes
   */
  ResidentPatch prepare(Patch patch, MergeOptions options) throws IOException;

  /**
   * Puts a prepared patch on the model as it was loaded, in place of the one that is on it.
   *
   * @return what rounding did
   * @throws IncompatibleModelException if weights became infinite or NaN, or left the range of their type and that is not allowed;
   *     no patch is on the model then
   */
  Rounding apply(ResidentPatch patch) throws IOException;

  /**
   * Puts a patch on the model as it was loaded, in place of the one that is on it, keeping nothing of it in GPU memory: its values
   * stream through, so that a patch larger than the memory that is left can be applied.
   *
   * @return what rounding did
   * @throws IncompatibleModelException as {@link #prepare} and {@link #apply(ResidentPatch)} do
   */
  Rounding apply(Patch patch, MergeOptions options) throws IOException;

  /** Takes the patch off that is on the model, if one is: every bit is as it was loaded. */
  void undo() throws IOException;

  /** The patch that is on the model. */
  Optional<Patch> active();

  /**
   * The model as it is now, to be read or written. Copies from the GPU as it is read.
   *
   * @return a version usable until the next patch is applied or taken off; from then on reading it throws {@link IllegalStateException}
   */
  ModelVersion current();

  /** The address of a tensor in GPU memory, which stays the same until this model is closed; empty if there is no such tensor. */
  OptionalLong address(String tensor);

  /** Bytes of GPU memory that were allocated for the model, with the originals that are kept and without prepared patches. */
  long deviceBytes();

  /** Frees the memory that was allocated for the model. */
  @Override
  void close();
}
