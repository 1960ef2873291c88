package io.portllm.io.internal.patchfile;

import com.google.common.primitives.ImmutableLongArray;
import io.portllm.DType;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.internal.text.Names;
import io.portllm.io.internal.files.StoredModel;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HashSet;
import java.util.Set;

/** The tensors of a patch file, and which of them belong to a change. */
final class StoredParts {
  private final PatchFields fields;
  private final StoredModel tensors;
  private final Set<String> used = new HashSet<>();

  StoredParts(PatchFields fields, StoredModel tensors) {
    this.fields = fields;
    this.tensors = tensors;
  }

  StoredModel tensors() {
    return tensors;
  }

  /** The names of the tensors that were asked for. */
  Set<String> used() {
    return used;
  }

  Tensor part(String tensor, int number, String part) throws IOException {
    String name = PatchKeys.part(tensor, number, part);
    used.add(name);
    return tensors.tensor(name).orElseThrow(() -> fields.malformed("PF-TENSORS", "tensor " + Names.quote(name) + " is missing"));
  }

  ImmutableLongArray indices(String tensor, int number, Shape shape) throws IOException {
    Tensor stored = part(tensor, number, "indices");
    if (stored.info().dtype() != DType.I64 || stored.info().shape().rank() != 1 || stored.info().bytes() > Integer.MAX_VALUE) {
      throw fields.malformed(
          "PF-INDEX",
          "tensor " + Names.quote(stored.info().name()) + " must be a list of I64 but is " + stored.info().dtype() + " "
              + stored.info().shape());
    }
    ByteBuffer bytes = ByteBuffer.allocate((int) stored.info().bytes()).order(ByteOrder.LITTLE_ENDIAN);
    stored.read(0, bytes);
    long[] values = new long[bytes.capacity() / 8];
    bytes.flip().asLongBuffer().get(values);
    Set<Long> seen = new HashSet<>();
    for (int i = 0; i < values.length; i++) {
      if (values[i] < 0 || values[i] >= shape.rows() || !seen.add(values[i])) {
        String problem = seen.contains(values[i]) ? "occurs again" : "is no row of " + shape;
        throw fields.malformed(
            "PF-INDEX", "tensor " + Names.quote(stored.info().name()) + ": number " + i + ", " + values[i] + ", " + problem);
      }
    }
    return ImmutableLongArray.copyOf(values);
  }

  /** Refuses a file with tensors that nothing asked for. */
  void requireAllUsed() throws IOException {
    for (TensorInfo tensor : tensors.tensors()) {
      if (!used.contains(tensor.name())) {
        throw fields.malformed("PF-TENSORS", "tensor " + Names.quote(tensor.name()) + " belongs to no change");
      }
    }
  }
}
