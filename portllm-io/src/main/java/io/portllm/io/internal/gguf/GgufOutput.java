package io.portllm.io.internal.gguf;

import com.google.common.primitives.Bytes;
import io.portllm.IncompatibleModelException;
import io.portllm.Shard;
import io.portllm.TensorInfo;
import io.portllm.io.internal.files.SourceFile;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Optional;

/**
 * A GGUF file: a header, and tensors end to end in its order. One that takes the place of another has its version, its metadata byte for byte, and
 * its alignment.
 */
public final class GgufOutput {
  /** The version of files that take no other's place. */
  private static final int VERSION = 3;

  private final byte[] start;
  private final Optional<SourceFile> rest;
  private final long metadataEnd;
  private final byte[] infos;
  private final long alignment;

  /**
   * A file.
   *
   * @param start its first bytes
   * @param rest a file with the same metadata, of which the bytes up to {@code metadataEnd} follow
   * @param infos what follows these
   */
  private GgufOutput(byte[] start, Optional<SourceFile> rest, long metadataEnd, byte[] infos, long alignment) {
    this.start = start;
    this.rest = rest;
    this.metadataEnd = metadataEnd;
    this.infos = infos;
    this.alignment = alignment;
  }

  /**
   * The file that holds {@code shard}.
   *
   * @param source the file that it takes the place of, open as long as this is used
   * @param model the name of the model that is written
   * @throws IncompatibleModelException if tensors cannot be stored in a GGUF file, naming all of them
   */
  public static GgufOutput of(GgufModel.Part source, Shard shard, String model) {
    GgufHeader header = source.header();
    byte[] infos = HeaderEncoder.infos(shard.tensors(), header.alignment(), model);
    byte[] start = HeaderEncoder.start(header.version(), shard.tensors().size(), header.metadata().keys().size());
    return new GgufOutput(start, Optional.of(source.file()), header.metadataEnd(), infos, header.alignment());
  }

  /**
   * The file of its own that holds {@code shard}.
   *
   * @param model the name of the model that is written
   * @throws IncompatibleModelException if tensors cannot be stored in a GGUF file, naming all of them
   */
  public static GgufOutput of(NewMetadata metadata, Shard shard, String model) {
    byte[] infos = HeaderEncoder.infos(shard.tensors(), GgufHeader.DEFAULT_ALIGNMENT, model);
    byte[] start = Bytes.concat(HeaderEncoder.start(VERSION, shard.tensors().size(), metadata.entries()), metadata.bytes());
    return new GgufOutput(start, Optional.empty(), start.length, infos, GgufHeader.DEFAULT_ALIGNMENT);
  }

  /** The bytes before the first tensor, padding included. */
  public long headerBytes() {
    long end = metadataEnd + infos.length;
    long padded = GgufHeader.align(end, alignment);
    // Files without tensors end with or without padding; what is copied stays as it was.
    return infos.length == 0 && rest.isPresent() && rest.get().size() < padded ? end : padded;
  }

  /** The zero bytes after a tensor. */
  public int padding(TensorInfo tensor) {
    return (int) (GgufHeader.align(tensor.bytes(), alignment) - tensor.bytes());
  }

  /** Reads bytes of the header until {@code destination} is full. */
  public void readHeader(long offset, ByteBuffer destination) throws IOException {
    long at = offset;
    while (destination.hasRemaining()) {
      ByteBuffer run = destination.duplicate();
      if (at < start.length) {
        put(start, at, run);
      } else if (at < metadataEnd) {
        run.limit((int) Math.min(run.limit(), run.position() + metadataEnd - at));
        rest.orElseThrow().readFully(at, run);
      } else if (at < metadataEnd + infos.length) {
        put(infos, at - metadataEnd, run);
      } else {
        run.put((byte) 0);
      }
      at += run.position() - destination.position();
      destination.position(run.position());
    }
  }

  private static void put(byte[] bytes, long from, ByteBuffer destination) {
    destination.put(bytes, (int) from, Math.min(bytes.length - (int) from, destination.remaining()));
  }
}
