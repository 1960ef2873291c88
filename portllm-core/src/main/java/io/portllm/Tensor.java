package io.portllm;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Objects;

/**
 * One tensor of one model version: where values can be read, not the values themselves.
 *
 * <p>Usable as long as the version is open. Safe for use by many threads.
 *
 * @param version the version that holds the tensor
 * @param info the tensor, one of {@code version.tensors()}
 */
public record Tensor(ModelVersion version, TensorInfo info) {
  public Tensor {
    Objects.requireNonNull(version, "version");
    Objects.requireNonNull(info, "info");
  }

  /** Reads bytes of the tensor, as {@link ModelVersion#read} does. */
  public void read(long offset, ByteBuffer destination) throws IOException {
    version.read(info, offset, destination);
  }
}
