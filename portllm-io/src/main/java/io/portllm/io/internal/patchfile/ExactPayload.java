package io.portllm.io.internal.patchfile;

import com.google.common.hash.Hasher;
import com.google.common.hash.Hashing;
import io.portllm.Fingerprint;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.internal.run.Progress;
import io.portllm.internal.text.Names;
import io.portllm.io.internal.exact.BlockEncoder;
import io.portllm.io.internal.exact.Words;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Optional;
import java.util.concurrent.ConcurrentLinkedQueue;

/**
 * The payload that makes one tensor of another: blocks, encoded as they are read, and the table of where they end.
 *
 * <pre>
 * payload = block* end*
 * end     = u64, little-endian: the byte of the payload after the block
 * </pre>
 *
 * <p>There is a block for each {@link BlockEncoder#WORDS} words of the tensor; the last may be of fewer. Where nothing is given to start
 * from, the tensor is made of as many zero bytes.
 */
final class ExactPayload {
  /** Bytes of an entry of the table. */
  static final int END_BYTES = 8;

  private final Optional<Tensor> given;
  private final Tensor made;
  private final Words words;
  private final ConcurrentLinkedQueue<Coder> coders;
  private final long[] ends;
  private boolean empty = true;
  private String digest;
  private String digestOfGiven;
  private String digestOfMade;

  /** Room for one thread that encodes. */
  static final class Coder {
    private final BlockEncoder encoder = new BlockEncoder();
    private final ByteBuffer given = ByteBuffer.allocateDirect(Fingerprint.BLOCK_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    private final ByteBuffer made = ByteBuffer.allocateDirect(Fingerprint.BLOCK_BYTES).order(ByteOrder.LITTLE_ENDIAN);
  }

  /**
   * Reads both tensors and encodes each block once, to learn how long the blocks are.
   *
   * @param given the tensor to start from, of the type and shape of {@code made}; empty to start from zeros
   * @param coders coders that are free, which this adds to
   */
  static ExactPayload survey(Optional<Tensor> given, Tensor made, ConcurrentLinkedQueue<Coder> coders, Progress progress)
      throws IOException {
    ExactPayload payload = new ExactPayload(given, made, coders);
    Coder coder = payload.lend();
    try {
      payload.survey(coder, progress);
    } finally {
      coders.add(coder);
    }
    return payload;
  }

  private ExactPayload(Optional<Tensor> given, Tensor made, ConcurrentLinkedQueue<Coder> coders) {
    this.given = given;
    this.made = made;
    this.words = Words.of(made.info().dtype());
    this.coders = coders;
    this.ends = new long[blocks(made.info())];
  }

  /** The number of blocks of a tensor. */
  static int blocks(TensorInfo tensor) {
    long blockBytes = blockBytes(tensor);
    return Math.toIntExact((tensor.bytes() + blockBytes - 1) / blockBytes);
  }

  /** The bytes of a tensor that a block stands for. */
  static long blockBytes(TensorInfo tensor) {
    return (long) BlockEncoder.WORDS * Words.of(tensor.dtype()).bytes();
  }

  private Coder lend() {
    Coder coder = coders.poll();
    return coder == null ? new Coder() : coder;
  }

  private void survey(Coder coder, Progress progress) throws IOException {
    Fingerprint.TensorDigest givenDigest = new Fingerprint.TensorDigest(made.info());
    Fingerprint.TensorDigest madeDigest = new Fingerprint.TensorDigest(made.info());
    Hasher payload = Hashing.sha256().newHasher();
    int blockBytes = (int) blockBytes(made.info());
    long position = 0;
    int block = 0;
    for (long offset = 0; offset < made.info().bytes(); offset += Fingerprint.BLOCK_BYTES) {
      int length = (int) Math.min(Fingerprint.BLOCK_BYTES, made.info().bytes() - offset);
      read(coder, offset, length);
      if (given.isPresent()) {
        givenDigest.add(coder.given.duplicate());
      }
      madeDigest.add(coder.made.duplicate());
      for (int from = 0; from < length; from += blockBytes) {
        int encoded = encode(coder, from, Math.min(blockBytes, length - from));
        payload.putBytes(coder.encoder.bytes(), 0, encoded);
        position += encoded;
        ends[block++] = position;
      }
      progress.add(given.isPresent() ? 2L * length : length);
    }
    payload.putBytes(table(0, ends.length));
    empty = position == 0;
    digest = payload.hash().toString();
    digestOfGiven = givenDigest.finish();
    digestOfMade = madeDigest.finish();
  }

  /** Reads both runs into the buffers of {@code coder}. */
  private void read(Coder coder, long offset, int length) throws IOException {
    coder.given.clear().limit(length);
    coder.made.clear().limit(length);
    if (given.isPresent()) {
      given.get().read(offset, coder.given);
    } else {
      while (coder.given.hasRemaining()) {
        coder.given.put((byte) 0);
      }
    }
    made.read(offset, coder.made);
    coder.given.flip();
    coder.made.flip();
  }

  private int encode(Coder coder, int from, int length) {
    ByteBuffer before = coder.given.slice(from, length).order(ByteOrder.LITTLE_ENDIAN);
    ByteBuffer after = coder.made.slice(from, length).order(ByteOrder.LITTLE_ENDIAN);
    return coder.encoder.encode(words, before, after, length / words.bytes());
  }

  /** Whether the two tensors are the same, so that no payload is needed. */
  boolean isEmpty() {
    return empty;
  }

  /** The bytes of the payload. */
  long size() {
    return tableStart() + (long) END_BYTES * ends.length;
  }

  private long tableStart() {
    return ends.length == 0 ? 0 : ends[ends.length - 1];
  }

  /** The SHA-256 of the payload. */
  String digest() {
    return digest;
  }

  /** The digest of the tensor to start from, if there is one. */
  Optional<String> digestOfGiven() {
    return given.map(tensor -> digestOfGiven);
  }

  /** The digest of the tensor that is made. */
  String digestOfMade() {
    return digestOfMade;
  }

  /** Reads bytes of the payload until {@code target} is full, encoding the blocks among them again. */
  void read(long offset, ByteBuffer target) throws IOException {
    long at = offset;
    if (at < tableStart()) {
      Coder coder = lend();
      try {
        for (int block = blockAt(at); target.hasRemaining() && block < ends.length; block++) {
          long start = block == 0 ? 0 : ends[block - 1];
          if (start == ends[block]) {
            continue;
          }
          long offsetInTensor = block * blockBytes(made.info());
          int length = (int) Math.min(blockBytes(made.info()), made.info().bytes() - offsetInTensor);
          read(coder, offsetInTensor, length);
          int encoded = encode(coder, 0, length);
          if (encoded != ends[block] - start) {
            throw new IOException("tensor " + Names.quote(made.info().name()) + " changed while it was read");
          }
          int from = (int) (at - start);
          int count = Math.min(encoded - from, target.remaining());
          target.put(coder.encoder.bytes(), from, count);
          at += count;
        }
      } finally {
        coders.add(coder);
      }
    }
    if (target.hasRemaining()) {
      long inTable = at - tableStart();
      int first = (int) (inTable / END_BYTES);
      int skip = (int) (inTable % END_BYTES);
      int last = (int) ((inTable + target.remaining() + END_BYTES - 1) / END_BYTES);
      target.put(table(first, last), skip, target.remaining());
    }
  }

  /** The first block that ends after byte {@code offset}. */
  private int blockAt(long offset) {
    int found = Arrays.binarySearch(ends, offset + 1);
    int block = found >= 0 ? found : -found - 1;
    while (block > 0 && ends[block - 1] > offset) {
      block--;
    }
    return block;
  }

  private byte[] table(int first, int last) {
    ByteBuffer bytes = ByteBuffer.allocate((last - first) * END_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = first; i < last; i++) {
      bytes.putLong(ends[i]);
    }
    return bytes.array();
  }
}
