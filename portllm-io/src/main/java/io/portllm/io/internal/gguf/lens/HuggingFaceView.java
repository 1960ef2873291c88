package io.portllm.io.internal.gguf.lens;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import io.portllm.ModelVersion;
import io.portllm.Shard;
import io.portllm.TensorInfo;
import io.portllm.Vocabulary;
import io.portllm.internal.text.Names;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A GGUF file as the Hugging Face checkpoint that it was converted from, as far as it still holds it: quantised tensors are F32. Closing it
 * frees nothing.
 */
public final class HuggingFaceView implements ModelVersion {
  private static final String FILE_NAME = "model.safetensors";

  private final ModelVersion file;
  private final Map<String, Source> sources;
  private final List<Shard> shards;
  private final Gathering gathering;
  private final boolean byIndex;

  HuggingFaceView(ModelVersion file, Collection<Source> sources) {
    this(file, sources, false);
  }

  /**
   * A view of these tensors.
   *
   * @param byIndex whether it is not told which tokens rows stand for
   */
  HuggingFaceView(ModelVersion file, Collection<Source> sources, boolean byIndex) {
    this.file = file;
    this.byIndex = byIndex;
    ImmutableMap.Builder<String, Source> byName = ImmutableMap.builder();
    sources.forEach(source -> byName.put(source.info().name(), source));
    this.sources = byName.buildOrThrow();
    this.shards = ImmutableList.of(new Shard(FILE_NAME, Map.of(), sources.stream().map(Source::info).toList()));
    this.gathering = new Gathering(new Decoding(file));
  }

  /** Where the tensor of this name is. */
  Source source(String name) {
    return sources.get(name);
  }

  /** The GGUF file, or a patched one. */
  public ModelVersion file() {
    return file;
  }

  @Override
  public void read(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException {
    Source source = sources.get(tensor.name());
    if (source == null || !source.info().equals(tensor)) {
      throw new IllegalArgumentException(Names.quote(name()) + " has no " + tensor);
    }
    int size = tensor.dtype().bytes();
    int length = destination.remaining();
    if (offset < 0 || length > tensor.bytes() - offset || offset % size != 0 || length % size != 0) {
      throw new IllegalArgumentException(
          length + " bytes from byte " + offset + " are no elements of tensor " + Names.quote(tensor.name()));
    }
    gathering.read(source, offset / size, length / size, destination);
  }

  @Override
  public String name() {
    return file.name();
  }

  @Override
  public List<Shard> shards() {
    return shards;
  }

  @Override
  public List<TensorInfo> tensors() {
    return shards.get(0).tensors();
  }

  @Override
  public Optional<TensorInfo> find(String name) {
    return Optional.ofNullable(sources.get(name)).map(Source::info);
  }

  @Override
  public Vocabulary vocabulary() throws IOException {
    return byIndex ? Vocabulary.empty() : file.vocabulary();
  }

  @Override
  public Map<String, String> config() {
    return file.config();
  }

  @Override
  public void verifyUnchanged() throws IOException {
    file.verifyUnchanged();
  }

  @Override
  public IOException malformed(TensorInfo tensor, String rule, String message) {
    Source source = sources.get(tensor.name());
    return source == null || source.stretches().isEmpty()
        ? ModelVersion.super.malformed(tensor, rule, message)
        : file.malformed(source.stretches().get(0).gguf(), rule, message);
  }

  @Override
  public void close() {}
}
