package io.portllm.internal.patch;

import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.Rounding;
import io.portllm.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Optional;
import java.util.Set;

/** A version that is computed from others as it is read. */
public interface DerivedModel extends ModelVersion {
  /** The version at the bottom of {@code model}: itself unless it is derived. */
  static ModelVersion origin(ModelVersion model) {
    ModelVersion origin = model;
    while (origin instanceof DerivedModel derived) {
      origin = derived.newBase();
    }
    return origin;
  }

  /** The version that it has its names, files and types from. */
  ModelVersion newBase();

  /** What was put onto the new base, if it was one patch. */
  default Optional<Patch> patch() {
    return Optional.empty();
  }

  /** Every version that reading this one reads, itself derived or not. */
  Set<ModelVersion> inputs();

  /** Whether the tensor of this name differs from the new base's. */
  boolean changes(String tensor);

  /**
   * Reads as {@link #read} does.
   *
   * @return what rounding did to the elements read
   * @throws io.portllm.IncompatibleModelException if an element overflowed and that is not allowed, or became infinite or NaN
   */
  Rounding readCounting(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException;
}
