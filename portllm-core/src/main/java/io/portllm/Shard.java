package io.portllm;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableSortedMap;
import java.util.List;
import java.util.Map;

/**
 * One weight file of a checkpoint, or the part of a model that would be written as one.
 *
 * @param fileName the file's name within the model folder, such as {@code model-00001-of-00002.safetensors}
 * @param metadata the file's free metadata, text to text, sorted by key
 * @param tensors the tensors in the order of their data
 */
public record Shard(String fileName, Map<String, String> metadata, List<TensorInfo> tensors) {
  public Shard {
    metadata = ImmutableSortedMap.copyOf(metadata);
    tensors = ImmutableList.copyOf(tensors);
  }
}
