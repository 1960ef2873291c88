package io.portllm.io.write;

import io.portllm.ModelVersion;
import io.portllm.Shard;
import io.portllm.SideFile;
import io.portllm.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** Another version, of which a test changes something. */
class ForwardingModel implements ModelVersion {
  private final ModelVersion other;

  ForwardingModel(ModelVersion other) {
    this.other = other;
  }

  @Override
  public String name() {
    return other.name();
  }

  @Override
  public List<Shard> shards() {
    return other.shards();
  }

  @Override
  public List<TensorInfo> tensors() {
    return other.tensors();
  }

  @Override
  public Optional<TensorInfo> find(String name) {
    return other.find(name);
  }

  @Override
  public Map<String, String> config() {
    return other.config();
  }

  @Override
  public List<SideFile> sideFiles() {
    return other.sideFiles();
  }

  @Override
  public void read(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException {
    other.read(tensor, offset, destination);
  }

  @Override
  public void verifyUnchanged() throws IOException {
    other.verifyUnchanged();
  }

  @Override
  public void close() throws IOException {
    other.close();
  }
}
