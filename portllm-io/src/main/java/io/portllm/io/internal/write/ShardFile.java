package io.portllm.io.internal.write;

import io.portllm.internal.buffer.DirectBuffers;
import io.portllm.internal.jfr.Stage;
import io.portllm.internal.run.Progress;
import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * One weight file that is being written: a list of chunks, each a stretch of the file that one thread computes. One thread at a time writes,
 * all chunks that are ready, while the others compute: systems let no two threads write to a file at once, and let them wait in busy loops.
 * The file is created with its first chunk, and forced and closed with its last.
 */
final class ShardFile implements Closeable {
  /** Chunks that may wait for being written. With that many, threads wait too. */
  private static final int MOST_READY = 4;

  /** With more threads there is always one that computes, and chunks that wait are memory for nothing. */
  private static final int FEW_THREADS = 16;

  private final Path file;
  private final Disk disk;
  private final DirectBuffers buffers;
  private final Progress progress;
  private final List<Chunk> chunks = new ArrayList<>();
  private final AtomicInteger unfinished;
  private final Parallel.Task whenFinished;
  private final int mostReady;
  private final Queue<Ready> ready = new ArrayDeque<>();
  private boolean writing;
  private boolean failed;
  private Disk.Sink sink;

  /** A part of a run. */
  private record Part(Run run, long offset, int length) {}

  /** Parts that lie side by side in the file. */
  private record Chunk(long position, List<Part> parts) {}

  /** A chunk that is computed. */
  private record Ready(long position, ByteBuffer bytes, int weights) {}

  /**
   * The file that consists of {@code runs}, end to end.
   *
   * @param threads how many compute, at most
   * @param whenFinished done once the file is on the disk
   */
  ShardFile(List<Run> runs, Path file, Disk disk, DirectBuffers buffers, Progress progress, int threads, Parallel.Task whenFinished) {
    this.file = file;
    this.mostReady = threads <= FEW_THREADS ? MOST_READY : 0;
    this.whenFinished = whenFinished;
    this.disk = disk;
    this.buffers = buffers;
    this.progress = progress;
    split(runs);
    this.unfinished = new AtomicInteger(chunks.size());
  }

  private void split(List<Run> runs) {
    List<Part> parts = new ArrayList<>();
    long start = 0;
    int filled = 0;
    for (Run run : runs) {
      long offset = 0;
      while (offset < run.bytes()) {
        // Chunks end between elements or blocks: where one would be cut, the chunk stays a little short.
        int room = buffers.size() - filled;
        int length = (int) Math.min(room - room % run.unit(), run.bytes() - offset);
        if (length > 0) {
          parts.add(new Part(run, offset, length));
          offset += length;
          filled += length;
        }
        if (offset < run.bytes() || filled == buffers.size()) {
          chunks.add(new Chunk(start, List.copyOf(parts)));
          parts.clear();
          start += filled;
          filled = 0;
        }
      }
    }
    if (filled > 0) {
      chunks.add(new Chunk(start, List.copyOf(parts)));
    }
  }

  /** The work: one task for each chunk. */
  List<Parallel.Task> tasks() {
    return chunks.stream().<Parallel.Task>map(chunk -> () -> write(chunk)).toList();
  }

  private void write(Chunk chunk) throws IOException {
    if (hand(compute(chunk))) {
      writeAll();
    }
  }

  private Ready compute(Chunk chunk) throws IOException {
    int length = chunk.parts().stream().mapToInt(Part::length).sum();
    int weights = 0;
    ByteBuffer buffer = buffers.lend(length);
    try {
      for (Part part : chunk.parts()) {
        part.run().source().read(part.offset(), buffer.slice(buffer.position(), part.length()));
        buffer.position(buffer.position() + part.length());
        weights += part.run().weights() ? part.length() : 0;
      }
    } catch (Throwable e) {
      buffers.takeBack(buffer);
      throw e;
    }
    return new Ready(chunk.position(), buffer.flip(), weights);
  }

  /** Leaves a chunk to whoever writes; true if that must be the caller. */
  private boolean hand(Ready chunk) {
    boolean interrupted = false;
    synchronized (ready) {
      while (writing && ready.size() >= mostReady) {
        try {
          ready.wait();
        } catch (InterruptedException e) {
          // Whoever interrupts a thread that works ends the write; what it waits for ends then too.
          interrupted = true;
        }
      }
      ready.add(chunk);
      boolean mine = !writing && !failed;
      writing |= mine;
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
      return mine;
    }
  }

  /** The next chunk to write; null, and the caller writes no longer, if there is none. */
  private Ready next() {
    synchronized (ready) {
      Ready chunk = ready.poll();
      writing = chunk != null;
      ready.notifyAll();
      return chunk;
    }
  }

  private void writeAll() throws IOException {
    try {
      for (Ready chunk = next(); chunk != null; chunk = next()) {
        write(chunk);
      }
    } catch (Throwable e) {
      synchronized (ready) {
        // Nobody goes on: the whole write has failed.
        failed = true;
        writing = false;
        ready.notifyAll();
      }
      throw e;
    }
  }

  private void write(Ready chunk) throws IOException {
    try {
      Disk.Sink out = open();
      Stage stage = Stage.write(file, chunk.position(), chunk.bytes().remaining());
      Disk.writeFully(out, chunk.bytes(), chunk.position());
      stage.done();
    } finally {
      buffers.takeBack(chunk.bytes());
    }
    if (unfinished.decrementAndGet() == 0) {
      finish();
      whenFinished.run();
    }
    progress.add(chunk.weights());
  }

  private synchronized Disk.Sink open() throws IOException {
    if (sink == null) {
      sink = disk.create(file);
    }
    return sink;
  }

  private synchronized void finish() throws IOException {
    Stage stage = Stage.force(file);
    sink.force();
    stage.done();
    sink.close();
  }

  /** Closes the file, finished or not. */
  @Override
  public synchronized void close() throws IOException {
    if (sink != null) {
      sink.close();
    }
  }
}
