package io.portllm.io.internal.patchfile;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.common.hash.Hasher;
import com.google.common.hash.Hashing;
import io.portllm.TensorInfo;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Collection;
import java.util.Map;
import java.util.TreeMap;

/**
 * Digests by which a damaged patch file is known: one of all that the header says, and one of each tensor that has none elsewhere.
 *
 * <p>Both entries or neither are there, so that no flipped bit takes a seal away.
 */
final class PatchSeal {
  private PatchSeal() {}

  /**
   * Adds the seal.
   *
   * @param metadata all other entries
   * @param tensors all tensors of the file
   * @param digests the SHA-256 of tensors by name
   */
  static void put(Map<String, String> metadata, Collection<TensorInfo> tensors, Map<String, String> digests) throws IOException {
    ObjectMapper json = new ObjectMapper();
    ObjectNode node = json.createObjectNode();
    new TreeMap<>(digests).forEach(node::put);
    metadata.put(PatchKeys.DIGESTS, json.writeValueAsString(node));
    metadata.put(PatchKeys.DIGEST, digest(metadata, tensors));
  }

  /** The digest of the metadata but for itself, and of names, types and shapes. */
  static String digest(Map<String, String> metadata, Collection<TensorInfo> tensors) {
    Hasher hasher = Hashing.sha256().newHasher();
    new TreeMap<>(metadata)
        .forEach(
            (key, value) -> {
              if (!key.equals(PatchKeys.DIGEST)) {
                put(hasher, key);
                put(hasher, value);
              }
            });
    Map<String, TensorInfo> sorted = new TreeMap<>();
    tensors.forEach(tensor -> sorted.put(tensor.name(), tensor));
    for (TensorInfo tensor : sorted.values()) {
      put(hasher, tensor.name());
      put(hasher, tensor.dtype().name());
      put(hasher, tensor.shape().toString());
    }
    return hasher.hash().toString();
  }

  private static void put(Hasher hasher, String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    // Big-endian, as the lengths in a model's fingerprint are.
    hasher.putLong(Long.reverseBytes(bytes.length)).putBytes(bytes);
  }

  /** The digests of a sealed file's tensors, which are text where they are digests at all. */
  static Map<String, String> digests(Iterable<Map.Entry<String, JsonNode>> entries) {
    Map<String, String> digests = new TreeMap<>();
    entries.forEach(entry -> digests.put(entry.getKey(), entry.getValue().asText()));
    return digests;
  }
}
