package io.portllm.io.internal.gguf;

import io.portllm.IncompatibleModelException;
import io.portllm.Mismatch;
import io.portllm.TensorInfo;
import io.portllm.internal.text.Names;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/** The parts of a header that are not metadata. */
final class HeaderEncoder {
  private HeaderEncoder() {}

  /** What stands before the metadata. */
  static byte[] start(int version, long tensors, long entries) {
    return ByteBuffer.allocate(GgufHeader.METADATA_START)
        .order(ByteOrder.LITTLE_ENDIAN)
        .put("GGUF".getBytes(StandardCharsets.US_ASCII))
        .putInt(version)
        .putLong(tensors)
        .putLong(entries)
        .array();
  }

  /**
   * What the header says of tensors, which lie end to end in their order but for padding.
   *
   * @throws IncompatibleModelException if some cannot be stored, naming all of them
   */
  static byte[] infos(List<TensorInfo> tensors, long alignment, String model) {
    List<Mismatch> mismatches = new ArrayList<>();
    Set<String> names = new HashSet<>();
    int length = 0;
    for (TensorInfo tensor : tensors) {
      problem(tensor, names).ifPresent(problem -> mismatches.add(Mismatch.of(tensor.name(), problem)));
      length = Math.addExact(length, 8 + tensor.name().getBytes(StandardCharsets.UTF_8).length + 4 + 8 * tensor.shape().rank() + 4 + 8);
    }
    if (!mismatches.isEmpty()) {
      throw new IncompatibleModelException(Names.quote(model) + " cannot be stored in GGUF files", mismatches);
    }
    ByteBuffer infos = ByteBuffer.allocate(length).order(ByteOrder.LITTLE_ENDIAN);
    long offset = 0;
    for (TensorInfo tensor : tensors) {
      byte[] name = tensor.name().getBytes(StandardCharsets.UTF_8);
      infos.putLong(name.length).put(name).putInt(tensor.shape().rank());
      for (int i = tensor.shape().rank() - 1; i >= 0; i--) {
        infos.putLong(tensor.shape().dimension(i));
      }
      infos.putInt(TensorTypes.numberOf(tensor.dtype()).getAsInt()).putLong(offset);
      offset = Math.addExact(offset, GgufHeader.align(tensor.bytes(), alignment));
    }
    return infos.array();
  }

  private static Optional<String> problem(TensorInfo tensor, Set<String> names) {
    int length = tensor.name().getBytes(StandardCharsets.UTF_8).length;
    if (length == 0 || length > GgufHeader.LONGEST_NAME || tensor.name().indexOf('\0') >= 0) {
      return Optional.of("must have a name of 1 to " + GgufHeader.LONGEST_NAME + " bytes, none of them zero");
    }
    if (!names.add(tensor.name())) {
      return Optional.of("occurs twice");
    }
    if (TensorTypes.numberOf(tensor.dtype()).isEmpty()) {
      return Optional.of("is " + tensor.dtype() + ", which is no type of GGUF");
    }
    if (tensor.shape().rank() > GgufHeader.MOST_DIMENSIONS) {
      return Optional.of("has " + tensor.shape().rank() + " dimensions, more than " + GgufHeader.MOST_DIMENSIONS);
    }
    return Optional.empty();
  }
}
