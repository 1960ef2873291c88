package io.portllm.io.internal.gguf.lens;

import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.internal.kernel.Floats;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Tells which tensors conversion widened: it stores norms, biases, routers and the like in F32, whatever they were in the checkpoint. Patched in
 * the checkpoint's type and widened again, they are what patching the checkpoint and converting it gives.
 */
final class Widened {
  private final Decoding decoding;
  private final boolean mixed;

  Widened(ModelVersion file) {
    this.decoding = new Decoding(file);
    // In a file that is F32 throughout, F32 is what was asked for.
    this.mixed = file.tensors().stream().anyMatch(tensor -> tensor.shape().rank() > 1 && tensor.dtype() != DType.F32);
  }

  /** Whether a tensor of type F32 holds values of {@code type} alone. Reads it. */
  boolean from(Source source, DType type) throws IOException {
    if (!mixed || type != DType.BF16 && type != DType.F16 || source.info().dtype() != DType.F32) {
      return false;
    }
    for (Stretch stretch : source.stretches()) {
      if (stretch.gguf().dtype() != DType.F32 || !holds(stretch, type)) {
        return false;
      }
    }
    return true;
  }

  private boolean holds(Stretch stretch, DType type) throws IOException {
    float[] values = new float[(int) Math.min(Decoding.RUN, stretch.elements())];
    float[] rounded = new float[values.length];
    int[] scratch = new int[values.length];
    ByteBuffer small = ByteBuffer.allocate(2 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    for (long at = 0; at < stretch.elements(); at += values.length) {
      int count = (int) Math.min(values.length, stretch.elements() - at);
      decoding.read(stretch.gguf(), stretch.ggufStart() + at, count, values, scratch);
      for (int i = 0; i < count; i++) {
        values[i] -= stretch.shift();
      }
      Floats.write(type, values, small, 0, count, scratch);
      Floats.read(type, small, 0, rounded, count, scratch);
      for (int i = 0; i < count; i++) {
        if (Float.floatToRawIntBits(values[i]) != Float.floatToRawIntBits(rounded[i])) {
          return false;
        }
      }
    }
    return true;
  }
}
