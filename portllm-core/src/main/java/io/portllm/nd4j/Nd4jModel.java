package io.portllm.nd4j;

import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.Shape;
import io.portllm.TensorInfo;
import io.portllm.internal.text.Names;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;
import org.bytedeco.javacpp.BytePointer;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.memory.MemoryWorkspace;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;

/**
 * Models as maps of ND4J arrays, and back. Elements keep their type and every bit, NaN payloads and signed zeros included.
 *
 * <p>{@snippet :
 * ModelVersion tuned = Nd4jModel.of("tuned", Map.of("wte.weight", tunedWeights));
 * ModelVersion base = Nd4jModel.of("base", Map.of("wte.weight", baseWeights));
 * ModelVersion ported = Patch.from(tuned, base).applyTo(Nd4jModel.of("new base", Map.of("wte.weight", newWeights)));
 * try (INDArray weights = Nd4jModel.toArray(ported, "wte.weight")) {
 *   System.out.println(weights.getFloat(0, 0));
 * }
 * }
 *
 * <p>The types that ND4J has are BOOL, INT8, UINT8, INT16, UINT16, INT32, UINT32, INT64, UINT64, HALF (F16), BFLOAT16 (BF16),
 * FLOAT (F32) and DOUBLE (F64).
 */
public final class Nd4jModel {
  /** Bytes read at a time: arrays can be larger than a byte buffer. */
  private static final int SLICE = 1 << 26;

  private Nd4jModel() {}

  /**
   * A model version whose tensors are arrays, without configuration.
   *
   * @see #of(String, Map, Map)
   */
  public static ModelVersion of(String name, Map<String, INDArray> tensors) {
    return of(name, tensors, Map.of());
  }

  /**
   * A model version whose tensors are arrays, of any rank, order and strides, views included. Nothing is copied: the arrays are
   * borrowed, and must neither change nor be closed while the version is in use. Closing the version leaves them open.
   *
   * @param name what messages call the model
   * @param tensors an array for each tensor name; their order is the order of the version's one shard
   * @param config the model's configuration, flattened as {@link ModelVersion#config} says
   * @throws IllegalArgumentException if an array is of a type that checkpoints do not have, was closed, lives in a workspace, or is
   *     empty without a dimension of size 0
   */
  public static ModelVersion of(String name, Map<String, INDArray> tensors, Map<String, String> config) {
    Map<String, ArrayTensor> checked = new LinkedHashMap<>();
    tensors.forEach((tensor, array) -> checked.put(tensor, new ArrayTensor(describe(tensor, array), array)));
    return new ArrayModel(name, checked, config);
  }

  /**
   * A tensor as a new array in C order, which the caller owns and closes.
   *
   * @throws IllegalArgumentException if the version has no such tensor, or ND4J has no such type
   * @throws IllegalStateException if no ND4J backend is on the class path
   * @throws IOException if reading failed
   */
  public static INDArray toArray(ModelVersion version, String tensor) throws IOException {
    TensorInfo info = version.find(tensor).orElseThrow(() -> new IllegalArgumentException(
        "model " + Names.quote(version.name()) + " has no tensor " + Names.quote(tensor)));
    DataType type = dataType(info);
    Nd4jBackend.require();
    return read(version, info, type);
  }

  /**
   * All tensors as new arrays in C order, in the version's order. The caller owns and closes the arrays.
   *
   * @throws IllegalArgumentException if ND4J lacks the type of a tensor; nothing was read then
   * @throws IllegalStateException if no ND4J backend is on the class path
   * @throws IOException if reading failed; no array is left open then
   */
  public static Map<String, INDArray> toArrays(ModelVersion version) throws IOException {
    version.tensors().forEach(Nd4jModel::dataType);
    Nd4jBackend.require();
    Map<String, INDArray> arrays = new LinkedHashMap<>();
    boolean complete = false;
    try {
      for (TensorInfo info : version.tensors()) {
        arrays.put(info.name(), read(version, info, dataType(info)));
      }
      complete = true;
      return arrays;
    } finally {
      if (!complete) {
        arrays.values().forEach(INDArray::close);
      }
    }
  }

  private static TensorInfo describe(String name, INDArray array) {
    String tensor = "tensor " + Names.quote(name) + ": ";
    if (array.wasClosed()) {
      throw new IllegalArgumentException(tensor + "array must be open but was closed");
    }
    DType dtype = ArrayTypes.dtype(array.dataType()).orElseThrow(() -> new IllegalArgumentException(
        tensor + "array must be of a type that checkpoints have but was " + array.dataType()));
    if (array.isAttached()) {
      throw new IllegalArgumentException(tensor + "array must outlive its workspace but is attached to it; detach() copies it");
    }
    Shape shape = Shape.of(array.shape());
    if (array.isEmpty() && shape.elements() != 0) {
      throw new IllegalArgumentException(tensor + "array must have elements or a dimension of size 0 but is empty, of shape " + shape);
    }
    return new TensorInfo(name, dtype, shape);
  }

  private static DataType dataType(TensorInfo info) {
    return ArrayTypes.dataType(info.dtype()).orElseThrow(() -> new IllegalArgumentException(
        "tensor " + Names.quote(info.name()) + ": ND4J has no type for " + info.dtype()));
  }

  @SuppressWarnings("try") // The workspace scope acts by being open.
  private static INDArray read(ModelVersion version, TensorInfo info, DataType type) throws IOException {
    try (MemoryWorkspace none = Nd4j.getMemoryManager().scopeOutOfWorkspaces()) {
      INDArray array = Nd4j.createUninitialized(type, info.shape().toArray());
      boolean complete = false;
      try {
        if (!array.isEmpty()) {
          BytePointer first = NativeMemory.firstElement(array);
          for (long offset = 0; offset < info.bytes(); offset += SLICE) {
            int count = (int) Math.min(SLICE, info.bytes() - offset);
            version.read(info, offset, NativeMemory.bytes(first, offset, count));
          }
          NativeMemory.written(array);
        }
        complete = true;
        return array;
      } finally {
        if (!complete) {
          array.close();
        }
      }
    }
  }
}
