package io.portllm.io.internal.safetensors;

import io.portllm.Shard;
import io.portllm.TensorInfo;
import io.portllm.internal.text.Names;
import io.portllm.io.MalformedModelException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Compares an index with the headers of its shards. */
final class IndexCheck {
  private IndexCheck() {}

  /**
   * Checks that every tensor of the index is in the file it names, and every tensor of the files in the index: rewriting the model
   * would lose or confuse the others.
   */
  static void check(Path index, Map<String, String> weightMap, List<Shard> shards) throws MalformedModelException {
    Map<String, String> holders = new HashMap<>();
    for (Shard shard : shards) {
      for (TensorInfo tensor : shard.tensors()) {
        holders.put(tensor.name(), shard.fileName());
      }
    }
    for (Map.Entry<String, String> entry : weightMap.entrySet()) {
      String holder = holders.remove(entry.getKey());
      if (!entry.getValue().equals(holder)) {
        throw malformed(
            index,
            entry.getKey(),
            "expected in " + Names.quote(entry.getValue()) + ", found in " + (holder == null ? "no listed file" : Names.quote(holder)));
      }
    }
    for (Shard shard : shards) {
      for (TensorInfo tensor : shard.tensors()) {
        if (holders.containsKey(tensor.name())) {
          throw malformed(index, tensor.name(), "it is in " + Names.quote(shard.fileName()) + " but the index does not list it");
        }
      }
    }
  }

  private static MalformedModelException malformed(Path index, String tensor, String message) {
    return new MalformedModelException(index, "IX-TENSOR", -1, "tensor " + Names.quote(tensor) + ": " + message);
  }
}
