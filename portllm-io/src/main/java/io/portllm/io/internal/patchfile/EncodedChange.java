package io.portllm.io.internal.patchfile;

import com.google.common.hash.Hasher;
import com.google.common.hash.Hashing;
import io.portllm.BitChange;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.internal.text.Names;
import io.portllm.io.MalformedModelException;
import io.portllm.io.internal.exact.BlockDecoder;
import io.portllm.io.internal.exact.BlockEncoder;
import io.portllm.io.internal.exact.BrokenBlockException;
import io.portllm.io.internal.exact.Words;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.stream.Stream;

/**
 * The change of bit patterns that a patch file holds for one tensor. Holds no bytes of it: blocks are read and decoded where they are
 * needed.
 *
 * @param base the tensor that the stored patch changes, if it does not add one
 * @param result the tensor that it makes, if it does not remove one
 * @param change the payload between the two, if they are of one type and shape
 * @param wholeBase the payload that makes {@code base} of zeros, if there is no {@code change}
 * @param wholeResult the payload that makes {@code result} of zeros, if there is no {@code change}
 * @param inverted whether the change goes from {@code result} to {@code base}
 * @param file the patch file
 * @param decoders decoders that are free
 */
record EncodedChange(
    Optional<Side> base,
    Optional<Side> result,
    Optional<Payload> change,
    Optional<Payload> wholeBase,
    Optional<Payload> wholeResult,
    boolean inverted,
    Path file,
    ConcurrentLinkedQueue<BlockDecoder> decoders)
    implements BitChange {
  private static final int HASHED_BYTES = 1 << 20;

  /** A tensor and its digest. */
  record Side(TensorInfo info, String digest) {}

  /** A stored payload and its SHA-256. */
  record Payload(Tensor tensor, String digest) {}

  private Optional<Side> from() {
    return inverted ? result : base;
  }

  private Optional<Side> to() {
    return inverted ? base : result;
  }

  @Override
  public Optional<TensorInfo> before() {
    return from().map(Side::info);
  }

  @Override
  public Optional<TensorInfo> after() {
    return to().map(Side::info);
  }

  @Override
  public String digestBefore() {
    return digest(from());
  }

  @Override
  public String digestAfter() {
    return digest(to());
  }

  private static String digest(Optional<Side> side) {
    return side.orElseThrow(() -> new IllegalStateException("there is no tensor on this side of the change")).digest();
  }

  @Override
  public List<Tensor> inputs() {
    return payloads().map(Payload::tensor).toList();
  }

  private Stream<Payload> payloads() {
    return Stream.of(change, wholeBase, wholeResult).flatMap(Optional::stream);
  }

  @Override
  public BitChange inverse() {
    return new EncodedChange(base, result, change, wholeBase, wholeResult, !inverted, file, decoders);
  }

  @Override
  public void verify() throws IOException {
    for (Payload payload : payloads().toList()) {
      Hasher hasher = Hashing.sha256().newHasher();
      ByteBuffer buffer = ByteBuffer.allocate(HASHED_BYTES);
      long size = payload.tensor().info().bytes();
      for (long offset = 0; offset < size; offset += HASHED_BYTES) {
        buffer.clear().limit((int) Math.min(HASHED_BYTES, size - offset));
        payload.tensor().read(offset, buffer);
        hasher.putBytes(buffer.flip());
      }
      String found = hasher.hash().toString();
      if (!found.equals(payload.digest())) {
        throw malformed("PF-DIGEST", payload, "has the SHA-256 " + found + " but was written with " + payload.digest());
      }
    }
  }

  @Override
  public void read(Optional<Tensor> given, long offset, ByteBuffer destination) throws IOException {
    TensorInfo info = after().orElseThrow();
    Payload payload = change.or(() -> inverted ? wholeBase : wholeResult).orElseThrow();
    Words words = Words.of(info.dtype());
    long blockBytes = ExactPayload.blockBytes(info);
    BlockDecoder decoder = decoders.poll();
    decoder = decoder == null ? new BlockDecoder() : decoder;
    try {
      long at = offset;
      while (destination.hasRemaining()) {
        int inBlock = (int) (at % blockBytes);
        int length = (int) Math.min(blockBytes - inBlock, destination.remaining());
        ByteBuffer run = destination.slice(destination.position(), length).order(ByteOrder.LITTLE_ENDIAN);
        if (change.isPresent()) {
          given.orElseThrow().read(at, run.duplicate());
        } else {
          clear(run.duplicate());
        }
        if (decode(payload, info, words, (int) (at / blockBytes), decoder)) {
          decoder.addTo(run, words, inBlock / words.bytes(), length / words.bytes(), inverted && change.isPresent());
        }
        destination.position(destination.position() + length);
        at += length;
      }
    } finally {
      decoders.add(decoder);
    }
  }

  private static void clear(ByteBuffer run) {
    while (run.hasRemaining()) {
      run.put((byte) 0);
    }
  }

  /** Decodes a block; false if it says that nothing differs. */
  private boolean decode(Payload payload, TensorInfo info, Words words, int block, BlockDecoder decoder) throws IOException {
    long tableStart = payload.tensor().info().bytes() - (long) ExactPayload.END_BYTES * ExactPayload.blocks(info);
    int entries = block == 0 ? 1 : 2;
    ByteBuffer ends = ByteBuffer.allocate(entries * ExactPayload.END_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    payload.tensor().read(tableStart + (long) ExactPayload.END_BYTES * (block + 1 - entries), ends);
    long start = block == 0 ? 0 : ends.getLong(0);
    long end = ends.getLong((entries - 1) * ExactPayload.END_BYTES);
    int count = (int) Math.min(BlockEncoder.WORDS, info.bytes() / words.bytes() - (long) block * BlockEncoder.WORDS);
    int most = BlockEncoder.mostBytes(count, words.bytes());
    if (start < 0 || end < start || end > tableStart || end - start > most) {
      throw malformed(
          "PF-BITS",
          payload,
          "block " + block + " must be at most " + most + " bytes before byte " + tableStart + " but is from byte " + start + " to byte "
              + end);
    }
    if (start == end) {
      return false;
    }
    int length = (int) (end - start);
    payload.tensor().read(start, ByteBuffer.wrap(decoder.bytes(), 0, length));
    try {
      decoder.decode(length, words, count);
    } catch (BrokenBlockException e) {
      throw malformed("PF-BITS", payload, "block " + block + ", from byte " + start + ": " + e.getMessage());
    }
    return true;
  }

  private MalformedModelException malformed(String rule, Payload payload, String message) {
    return new MalformedModelException(file, rule, -1, "tensor " + Names.quote(payload.tensor().info().name()) + ": " + message);
  }
}
