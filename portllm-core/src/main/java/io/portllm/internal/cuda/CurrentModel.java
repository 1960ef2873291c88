package io.portllm.internal.cuda;

import io.portllm.ModelVersion;
import io.portllm.Shard;
import io.portllm.SideFile;
import io.portllm.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** A loaded model as it was at some time; refuses to be read after that. */
final class CurrentModel implements ModelVersion {
  private final LoadedModel model;
  private final int since;

  CurrentModel(LoadedModel model, int since) {
    this.model = model;
    this.since = since;
  }

  @Override
  public String name() {
    return model.source().name();
  }

  @Override
  public List<Shard> shards() {
    return model.source().shards();
  }

  @Override
  public List<TensorInfo> tensors() {
    return model.source().tensors();
  }

  @Override
  public Optional<TensorInfo> find(String tensor) {
    return model.source().find(tensor);
  }

  @Override
  public Map<String, String> config() {
    return model.source().config();
  }

  @Override
  public List<SideFile> sideFiles() {
    return model.source().sideFiles();
  }

  @Override
  public void read(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException {
    model.read(since, tensor, offset, destination);
  }

  @Override
  public void close() {}
}
