package io.portllm.io.internal.gguf;

import io.portllm.IncompatibleModelException;
import io.portllm.Shard;
import io.portllm.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;

/**
 * A GGUF file that takes the place of another: with its version, its metadata byte for byte, its alignment, and tensors end to end in the
 * order of the header.
 */
public final class GgufOutput {
  private final GgufModel.Part source;
  private final byte[] start;
  private final byte[] infos;

  private GgufOutput(GgufModel.Part source, byte[] start, byte[] infos) {
    this.source = source;
    this.start = start;
    this.infos = infos;
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
    return new GgufOutput(
        source, HeaderEncoder.start(header.version(), shard.tensors().size(), header.metadata().keys().size()), infos);
  }

  /** The bytes before the first tensor, padding included. */
  public long headerBytes() {
    long end = source.header().metadataEnd() + infos.length;
    long padded = GgufHeader.align(end, source.header().alignment());
    // Files without tensors end with or without padding; what is copied stays as it was.
    return infos.length == 0 && source.file().size() < padded ? end : padded;
  }

  /** The zero bytes after a tensor. */
  public int padding(TensorInfo tensor) {
    return (int) (GgufHeader.align(tensor.bytes(), source.header().alignment()) - tensor.bytes());
  }

  /** Reads bytes of the header until {@code destination} is full. */
  public void readHeader(long offset, ByteBuffer destination) throws IOException {
    long metadataEnd = source.header().metadataEnd();
    long at = offset;
    while (destination.hasRemaining()) {
      ByteBuffer run = destination.duplicate();
      if (at < start.length) {
        put(start, at, run);
      } else if (at < metadataEnd) {
        run.limit((int) Math.min(run.limit(), run.position() + metadataEnd - at));
        source.file().readFully(at, run);
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
