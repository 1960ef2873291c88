package io.portllm;

import com.google.common.collect.ImmutableSortedMap;
import com.google.common.hash.Hasher;
import com.google.common.hash.Hashing;
import com.google.common.io.BaseEncoding;
import io.portllm.internal.jfr.Stage;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.TreeMap;

/**
 * What tells one model version from another: a digest of every tensor's name, type, shape and bytes. Sharding, order, metadata and
 * side files do not count.
 *
 * <p>The digest of a tensor is the SHA-256 of {@code dtype 0x0A dimensions-joined-by-commas 0x0A} followed by the SHA-256 of each of
 * its blocks of 4 MiB. The digest of a model is the SHA-256 of {@code length-of-name(8 bytes, big-endian) name-in-UTF-8 digest} of all
 * tensors, sorted by name as {@link String#compareTo} does. Digests are written as 64 lower-case hexadecimal digits.
 *
 * @param digest the digest of the model
 * @param tensors the digest of each tensor by name
 */
public record Fingerprint(String digest, Map<String, String> tensors) {
  /** Bytes of a tensor that are hashed at a time. */
  public static final int BLOCK_BYTES = 4 << 20;

  public Fingerprint {
    tensors = ImmutableSortedMap.copyOf(tensors);
  }

  /** The fingerprint of {@code model}, of which all bytes are read, on this thread. */
  public static Fingerprint of(ModelVersion model) throws IOException {
    Map<String, String> digests = new TreeMap<>();
    for (TensorInfo tensor : model.tensors()) {
      digests.put(tensor.name(), digest(model, tensor));
    }
    return of(digests);
  }

  /** The fingerprint of a model whose tensors have these digests. */
  public static Fingerprint of(Map<String, String> tensorDigests) {
    Hasher hasher = Hashing.sha256().newHasher();
    new TreeMap<>(tensorDigests)
        .forEach(
            (name, digest) -> {
              byte[] bytes = name.getBytes(StandardCharsets.UTF_8);
              hasher.putBytes(ByteBuffer.allocate(8).putLong(bytes.length).flip());
              hasher.putBytes(bytes);
              hasher.putBytes(BaseEncoding.base16().lowerCase().decode(digest));
            });
    return new Fingerprint(hasher.hash().toString(), tensorDigests);
  }

  /** The digest of one tensor, of which all bytes are read. */
  public static String digest(ModelVersion model, TensorInfo tensor) throws IOException {
    ByteBuffer block = ByteBuffer.allocate((int) Math.min(BLOCK_BYTES, Math.max(1, tensor.bytes())));
    TensorDigest digest = new TensorDigest(tensor);
    Stage stage = Stage.hash(tensor.name(), tensor.bytes());
    for (long offset = 0; offset < tensor.bytes(); offset += BLOCK_BYTES) {
      block.clear().limit((int) Math.min(BLOCK_BYTES, tensor.bytes() - offset));
      model.read(tensor, offset, block);
      digest.add(block.flip());
    }
    stage.done();
    return digest.finish();
  }

  /** The digest of a tensor whose bytes come block by block. */
  public static final class TensorDigest {
    private final Hasher hasher = Hashing.sha256().newHasher();

    /** No blocks yet. */
    public TensorDigest(TensorInfo tensor) {
      StringBuilder head = new StringBuilder(tensor.dtype().name()).append('\n');
      for (int i = 0; i < tensor.shape().rank(); i++) {
        head.append(i == 0 ? "" : ",").append(tensor.shape().dimension(i));
      }
      hasher.putString(head.append('\n'), StandardCharsets.US_ASCII);
    }

    /** Adds the next block: {@link #BLOCK_BYTES} bytes, or what is left. */
    public void add(ByteBuffer block) {
      hasher.putBytes(Hashing.sha256().hashBytes(block).asBytes());
    }

    /** The digest; nothing can be added after. */
    public String finish() {
      return hasher.hash().toString();
    }
  }
}
