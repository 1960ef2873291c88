package io.portllm.io.internal.patchfile;

import com.google.common.hash.Hasher;
import com.google.common.hash.Hashing;
import io.portllm.ModelVersion;
import io.portllm.Shard;
import io.portllm.TensorInfo;
import io.portllm.io.internal.files.StoredModel;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;

/**
 * The tensors of a patch file, each compared with its digest before its first byte is given. Safe for use by many threads.
 */
final class CheckedTensors implements StoredModel {
  private static final int RUN_BYTES = 1 << 20;

  private final StoredModel stored;
  private final Map<String, String> digests;
  private final Map<String, Check> checks = new ConcurrentHashMap<>();

  /** Tensors without a digest are given as they are. */
  CheckedTensors(StoredModel stored, Map<String, String> digests) {
    this.stored = stored;
    this.digests = digests;
  }

  /** The SHA-256 of all bytes of a tensor. */
  static String digest(ModelVersion model, TensorInfo tensor) throws IOException {
    Hasher hasher = Hashing.sha256().newHasher();
    int unit = tensor.dtype().blockBytes();
    ByteBuffer run = ByteBuffer.allocate((int) Math.min(RUN_BYTES - RUN_BYTES % unit, tensor.bytes()));
    for (long offset = 0; offset < tensor.bytes(); offset += run.limit()) {
      run.clear().limit((int) Math.min(run.capacity(), tensor.bytes() - offset));
      model.read(tensor, offset, run);
      hasher.putBytes(run.flip());
    }
    return hasher.hash().toString();
  }

  @Override
  public void read(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException {
    String expected = digests.get(tensor.name());
    if (expected != null) {
      checks.computeIfAbsent(tensor.name(), name -> new Check()).require(tensor, expected);
    }
    stored.read(tensor, offset, destination);
  }

  /** The comparison of one tensor; other threads that need it wait. */
  private final class Check {
    private String found;

    synchronized void require(TensorInfo tensor, String expected) throws IOException {
      if (found == null) {
        found = digest(stored, tensor);
      }
      if (!found.equals(expected)) {
        throw stored.malformed(tensor, "PF-DIGEST", "has the SHA-256 " + found + " but was written with " + expected);
      }
    }
  }

  @Override
  public Path path() {
    return stored.path();
  }

  @Override
  public String name() {
    return stored.name();
  }

  @Override
  public List<Shard> shards() {
    return stored.shards();
  }

  @Override
  public List<TensorInfo> tensors() {
    return stored.tensors();
  }

  @Override
  public Optional<TensorInfo> find(String name) {
    return stored.find(name);
  }

  @Override
  public void verifyUnchanged() throws IOException {
    stored.verifyUnchanged();
  }

  @Override
  public IOException malformed(TensorInfo tensor, String rule, String message) {
    return stored.malformed(tensor, rule, message);
  }

  @Override
  public void close() throws IOException {
    stored.close();
  }
}
