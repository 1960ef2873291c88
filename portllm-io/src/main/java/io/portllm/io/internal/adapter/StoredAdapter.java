package io.portllm.io.internal.adapter;

import com.fasterxml.jackson.databind.JsonNode;
import io.portllm.Delta;
import io.portllm.Shape;
import io.portllm.Tensor;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;

/** The part of an adapter that changes which depend on weights are made of, kept elsewhere than in an adapter folder. */
public final class StoredAdapter {
  private final Path file;
  private final AdapterConfig config;
  private final StoredParts parts;
  private final StoredParts shapes = new StoredParts("the base");

  /**
   * No modules yet.
   *
   * @param file the file that holds the adapter, for messages
   * @param config its configuration, as {@link AdapterConfig#ofChanges} gives it
   * @throws io.portllm.io.MalformedModelException if it is none
   */
  public StoredAdapter(Path file, JsonNode config) throws IOException {
    this.file = file;
    this.config = AdapterConfig.of(file, config);
    this.parts = new StoredParts(file.toString());
  }

  /** Adds a tensor of a module. */
  public void put(String module, String part, Tensor tensor) {
    parts.put(AdapterContents.PREFIX + module + "." + part, tensor);
  }

  /** Tells the shape of a tensor that the adapter changes, or of the weight beside a bias that it changes. */
  public void putShape(String tensor, Shape shape) {
    shapes.putShape(tensor, shape);
  }

  /**
   * The changes by tensor name. Reads all tensors that were added, to refuse NaN and infinity.
   *
   * @throws io.portllm.io.MalformedModelException if tensors and configuration contradict each other
   * @throws io.portllm.IncompatibleModelException if they do not fit the shapes
   */
  public Map<String, Delta> changes() throws IOException {
    return AdapterContents.of(file.toAbsolutePath().getParent(), file, config, parts).changesAnew(shapes);
  }
}
