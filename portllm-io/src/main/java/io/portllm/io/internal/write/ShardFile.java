package io.portllm.io.internal.write;

import io.portllm.ModelVersion;
import io.portllm.Rounding;
import io.portllm.Shard;
import io.portllm.TensorInfo;
import io.portllm.internal.buffer.DirectBuffers;
import io.portllm.internal.patch.DerivedModel;
import io.portllm.internal.run.Progress;
import io.portllm.internal.text.Names;
import io.portllm.io.internal.safetensors.SafetensorsHeader;
import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * One weight file that is being written: a list of chunks, each a run of bytes of the file that one thread computes and writes. The
 * file is created with its first chunk, and forced and closed with its last.
 */
final class ShardFile implements Closeable {
  private final ModelVersion model;
  private final Path file;
  private final byte[] header;
  private final DirectBuffers buffers;
  private final Map<String, Rounding> rounding;
  private final Progress progress;
  private final List<Chunk> chunks = new ArrayList<>();
  private final AtomicInteger unfinished;
  private FileChannel channel;

  /** A part of a tensor. */
  private record Part(TensorInfo tensor, long offset, int length) {}

  /** Parts that lie side by side in the file. */
  private record Chunk(long position, List<Part> parts) {}

  ShardFile(ModelVersion model, Shard shard, Path file, DirectBuffers buffers, Map<String, Rounding> rounding, Progress progress) {
    this.model = model;
    this.file = file;
    this.buffers = buffers;
    this.rounding = rounding;
    this.progress = progress;
    this.header = SafetensorsHeader.encode(shard.tensors(), shard.metadata());
    split(shard);
    this.unfinished = new AtomicInteger(chunks.size());
  }

  private void split(Shard shard) {
    List<Part> parts = new ArrayList<>();
    long start = header.length;
    int filled = 0;
    for (TensorInfo tensor : shard.tensors()) {
      long offset = 0;
      while (offset < tensor.bytes()) {
        // Chunks end between elements: where an element would be cut, the chunk stays a little short.
        int room = buffers.size() - filled;
        int element = Math.max(1, tensor.dtype().bits() / 8);
        int length = (int) Math.min(room - room % element, tensor.bytes() - offset);
        if (length > 0) {
          parts.add(new Part(tensor, offset, length));
          offset += length;
          filled += length;
        }
        if (offset < tensor.bytes() || filled == buffers.size()) {
          chunks.add(new Chunk(start, List.copyOf(parts)));
          parts.clear();
          start += filled;
          filled = 0;
        }
      }
    }
    // Even a file without data needs one chunk: it writes the header.
    if (filled > 0 || chunks.isEmpty()) {
      chunks.add(new Chunk(start, List.copyOf(parts)));
    }
  }

  /** The work: one task for each chunk. */
  List<Parallel.Task> tasks() {
    return chunks.stream().<Parallel.Task>map(chunk -> () -> write(chunk)).toList();
  }

  private void write(Chunk chunk) throws IOException {
    int length = chunk.parts().stream().mapToInt(Part::length).sum();
    ByteBuffer buffer = buffers.lend(length);
    try {
      for (Part part : chunk.parts()) {
        ByteBuffer target = buffer.slice(buffer.position(), part.length());
        read(part, target);
        if (target.hasRemaining()) {
          throw new IOException("tensor " + Names.quote(part.tensor().name()) + " of " + Names.quote(model.name())
              + " was not read to the end");
        }
        buffer.position(buffer.position() + part.length());
      }
      writeFully(open(), buffer.flip(), chunk.position());
    } finally {
      buffers.takeBack(buffer);
    }
    if (unfinished.decrementAndGet() == 0) {
      finish();
    }
    progress.add(length);
  }

  private void read(Part part, ByteBuffer target) throws IOException {
    if (model instanceof DerivedModel derived) {
      Rounding counts = derived.readCounting(part.tensor(), part.offset(), target);
      if (derived.changes(part.tensor().name())) {
        rounding.merge(part.tensor().name(), counts, Rounding::plus);
      }
    } else {
      model.read(part.tensor(), part.offset(), target);
    }
  }

  private synchronized FileChannel open() throws IOException {
    if (channel == null) {
      channel = Output.create(file);
      writeFully(channel, ByteBuffer.wrap(header), 0);
    }
    return channel;
  }

  private synchronized void finish() throws IOException {
    channel.force(true);
    channel.close();
  }

  /** Closes the file, finished or not. */
  @Override
  public synchronized void close() throws IOException {
    if (channel != null) {
      channel.close();
    }
  }

  static void writeFully(FileChannel channel, ByteBuffer bytes, long position) throws IOException {
    long at = position;
    while (bytes.hasRemaining()) {
      at += channel.write(bytes, at);
    }
  }

  static Map<String, Rounding> newRoundings() {
    return new ConcurrentHashMap<>();
  }
}
