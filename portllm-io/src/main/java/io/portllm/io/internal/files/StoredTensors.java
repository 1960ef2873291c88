package io.portllm.io.internal.files;

import io.portllm.TensorInfo;
import io.portllm.internal.text.Names;
import io.portllm.io.MalformedModelException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;

/** Where the tensors of a model are in its files. Filled by one thread; then safe for reading by many. */
public final class StoredTensors {
  /** Where a tensor's bytes are. */
  private record Place(TensorInfo info, SourceFile file, long offset) {}

  private final Path model;
  private final Map<String, Place> places = new HashMap<>();

  /** No tensors yet of the model at this path. */
  public StoredTensors(Path model) {
    this.model = model;
  }

  /**
   * Adds a tensor.
   *
   * @param offset the byte of the file at which it begins
   * @return the file that has a tensor of this name already, if there is one
   */
  public Optional<Path> add(TensorInfo tensor, SourceFile file, long offset) {
    return Optional.ofNullable(places.putIfAbsent(tensor.name(), new Place(tensor, file, offset))).map(first -> first.file.path());
  }

  /** The tensor of this name. */
  public Optional<TensorInfo> find(String name) {
    return Optional.ofNullable(places.get(name)).map(Place::info);
  }

  /** Reads as {@link io.portllm.ModelVersion#read} does. */
  public void read(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException {
    Place place = places.get(tensor.name());
    if (place == null || !place.info.equals(tensor)) {
      throw new IllegalArgumentException(model + " has no " + tensor);
    }
    if (offset < 0 || offset > tensor.bytes() - destination.remaining()) {
      throw new IllegalArgumentException(
          destination.remaining() + " bytes from " + offset + " do not lie within the " + tensor.bytes() + " bytes of tensor "
              + Names.quote(tensor.name()));
    }
    if (tensor.dtype().blockElements() == 1 && offset % tensor.dtype().bytes() != 0) {
      throw new IllegalArgumentException(
          "offset " + offset + " is no multiple of the " + tensor.dtype().bytes() + " bytes of an element of tensor "
              + Names.quote(tensor.name()));
    }
    try {
      place.file.readFully(place.offset + offset, destination);
    } catch (FileChangedException e) {
      throw e.whileReading(tensor.name());
    }
  }

  /** What {@link io.portllm.ModelVersion#malformed} asks for. */
  public MalformedModelException malformed(TensorInfo tensor, String rule, String message) {
    Place place = places.get(tensor.name());
    Path file = place == null ? model : place.file.path();
    return new MalformedModelException(file, rule, -1, "tensor " + Names.quote(tensor.name()) + " " + message);
  }
}
