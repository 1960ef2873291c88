package io.portllm.io.gguf;

import io.portllm.DType;
import io.portllm.Shape;
import io.portllm.TensorInfo;
import io.portllm.io.internal.safetensors.SafetensorsHeader;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/** Builds safetensors files for tests. */
final class SafetensorsBytes {
  private SafetensorsBytes() {}

  /** A file of one zero of each of these types. */
  static byte[] of(Map<String, DType> types) {
    List<TensorInfo> infos = types.entrySet().stream().map(entry -> new TensorInfo(entry.getKey(), entry.getValue(), Shape.of(1))).toList();
    byte[] header = SafetensorsHeader.encode(infos, Map.of());
    return Arrays.copyOf(header, header.length + (int) infos.stream().mapToLong(TensorInfo::bytes).sum());
  }
}
