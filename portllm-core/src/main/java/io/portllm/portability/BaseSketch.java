package io.portllm.portability;

import com.google.common.collect.ImmutableSortedMap;
import java.util.Map;

/**
 * What a patch keeps of the base it was made on, so that a new base can be judged without the old one.
 *
 * @param config the settings of the base's configuration that bear on a port, flattened
 * @param tensors a sketch of each tensor that can be changed, by name
 */
public record BaseSketch(Map<String, String> config, Map<String, TensorSketch> tensors) {
  public BaseSketch {
    config = ImmutableSortedMap.copyOf(config);
    tensors = ImmutableSortedMap.copyOf(tensors);
  }
}
