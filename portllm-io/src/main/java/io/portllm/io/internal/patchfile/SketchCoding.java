package io.portllm.io.internal.patchfile;

import com.google.common.primitives.ImmutableDoubleArray;
import io.portllm.DType;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.internal.patch.OneTensor;
import io.portllm.portability.BaseSketch;
import io.portllm.portability.TensorSketch;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;

/**
 * The sketches of a base as one vector: by tensor name, the norm and the weights of each, and where the patch changes the tensor the
 * signature, input and output.
 */
final class SketchCoding {
  private static final int PLAIN = 1 + TensorSketch.WEIGHTS;
  private static final int WITH_PRODUCTS = PLAIN + TensorSketch.WIDTH + 2 * TensorSketch.PRODUCTS;

  private SketchCoding() {}

  /** Whether all values are within the range of F32. Those of weights near its end are not, and such sketches are left out. */
  static boolean isStorable(TensorSketch sketch) {
    return Stream.of(sketch.weights(), sketch.signature(), sketch.input(), sketch.output())
            .flatMapToDouble(ImmutableDoubleArray::stream)
            .allMatch(value -> Float.isFinite((float) value))
        && Float.isFinite((float) sketch.norm());
  }

  /** How many values there are for these sketches. */
  static long length(Map<String, Boolean> contents) {
    return contents.values().stream().mapToLong(products -> products ? WITH_PRODUCTS : PLAIN).sum();
  }

  /** Whether each tensor's sketch has products, by name. */
  static Map<String, Boolean> contents(BaseSketch sketch) {
    Map<String, Boolean> contents = new TreeMap<>();
    sketch.tensors().forEach((name, tensor) -> contents.put(name, tensor.hasProducts()));
    return contents;
  }

  /** The vector's description. */
  static TensorInfo info(BaseSketch sketch) {
    return new TensorInfo(PatchKeys.BASE_SKETCHES, DType.F32, Shape.of(length(contents(sketch))));
  }

  /** The vector. */
  static Tensor values(BaseSketch sketch) {
    float[] values = new float[Math.toIntExact(length(contents(sketch)))];
    int at = 0;
    for (TensorSketch tensor : sketch.tensors().values()) {
      values[at++] = (float) tensor.norm();
      at = put(tensor.weights(), values, at);
      at = put(tensor.signature(), values, at);
      at = put(tensor.input(), values, at);
      at = put(tensor.output(), values, at);
    }
    return OneTensor.of(PatchKeys.BASE_SKETCHES, Shape.of(values.length), values);
  }

  private static int put(ImmutableDoubleArray part, float[] values, int at) {
    for (int i = 0; i < part.length(); i++) {
      values[at + i] = (float) part.get(i);
    }
    return at + part.length();
  }

  /**
   * The sketches that a vector of {@link #length} values holds.
   *
   * @throws IllegalArgumentException if a value is infinite or NaN
   */
  static Map<String, TensorSketch> read(Map<String, Boolean> contents, Tensor vector) throws IOException {
    Map<String, TensorSketch> sketches = new TreeMap<>();
    long offset = 0;
    for (Map.Entry<String, Boolean> entry : new TreeMap<>(contents).entrySet()) {
      boolean products = entry.getValue();
      int length = products ? WITH_PRODUCTS : PLAIN;
      ByteBuffer bytes = ByteBuffer.allocate(4 * length).order(ByteOrder.LITTLE_ENDIAN);
      vector.read(offset, bytes);
      bytes.flip();
      sketches.put(
          entry.getKey(),
          new TensorSketch(
              finite(bytes.getFloat()),
              take(bytes, TensorSketch.WEIGHTS),
              take(bytes, products ? TensorSketch.WIDTH : 0),
              take(bytes, products ? TensorSketch.PRODUCTS : 0),
              take(bytes, products ? TensorSketch.PRODUCTS : 0)));
      offset += 4L * length;
    }
    return sketches;
  }

  private static float finite(float value) {
    if (!Float.isFinite(value)) {
      throw new IllegalArgumentException("a sketch must be of finite values but has " + value);
    }
    return value;
  }

  private static ImmutableDoubleArray take(ByteBuffer bytes, int count) {
    double[] values = new double[count];
    for (int i = 0; i < count; i++) {
      values[i] = finite(bytes.getFloat());
    }
    return ImmutableDoubleArray.copyOf(values);
  }
}
