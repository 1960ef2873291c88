package io.portllm.io.internal.write;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import io.portllm.ModelVersion;
import io.portllm.Shard;
import io.portllm.TensorInfo;
import io.portllm.internal.patch.DerivedModel;
import io.portllm.io.internal.gguf.GgufModel;
import io.portllm.io.internal.safetensors.SafetensorsModel;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/** The index of a model of several weight files. */
final class IndexFile {
  private IndexFile() {}

  /**
   * The bytes of the index of {@code model} as transformers writes it: total size first, then where each tensor is, sorted by name. None
   * for a model of one file, unless it was opened by an index, and none for a GGUF model.
   */
  static Optional<byte[]> of(ModelVersion model) throws IOException {
    ModelVersion origin = DerivedModel.origin(model);
    Map<String, Object> metadata = new LinkedHashMap<>();
    boolean indexed = model.shards().size() > 1 && !(origin instanceof GgufModel);
    if (origin instanceof SafetensorsModel files) {
      metadata.putAll(files.indexMetadata());
      indexed |= files.isIndexed();
    }
    if (!indexed) {
      return Optional.empty();
    }
    metadata.put("total_size", model.tensors().stream().mapToLong(TensorInfo::bytes).sum());
    Map<String, String> places = new TreeMap<>();
    for (Shard shard : model.shards()) {
      shard.tensors().forEach(tensor -> places.put(tensor.name(), shard.fileName()));
    }
    Map<String, Object> index = new LinkedHashMap<>();
    index.put("metadata", metadata);
    index.put("weight_map", places);
    ObjectMapper mapper = new ObjectMapper(new JsonFactory()).enable(SerializationFeature.INDENT_OUTPUT);
    return Optional.of((mapper.writeValueAsString(index) + "\n").getBytes(StandardCharsets.UTF_8));
  }
}
