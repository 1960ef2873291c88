package io.portllm.io.internal.write;

import io.portllm.ModelVersion;
import io.portllm.Rounding;
import io.portllm.Shard;
import io.portllm.internal.buffer.DirectBuffers;
import io.portllm.internal.patch.DerivedModel;
import io.portllm.internal.text.Names;
import io.portllm.io.internal.gguf.GgufModel;
import io.portllm.io.internal.gguf.NewGguf;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The safetensors files of a model in ranges that are written apart, each by any process that opened the same models, and that are the
 * files which one process writes once they lie end to end. A range holds a buffer of {@value #CHUNK_BYTES} bytes and one of
 * {@value #COPY_BYTES}.
 *
 * <p>Not safe for use by several threads: the rounding of the ranges that were written is summed up.
 */
public final class FileRanges {
  private static final int CHUNK_BYTES = 4 << 20;
  private static final int COPY_BYTES = 256 << 10;

  /**
   * Bytes of a file.
   *
   * @param file the number of the weight file, in the order of {@link ModelVersion#shards}
   * @param from the first byte
   * @param to the byte after the last
   */
  public record Range(int file, long from, long to) {
    /** The number of bytes. */
    public long bytes() {
      return to - from;
    }
  }

  private final ModelVersion model;
  private final Weights weights;
  private final DirectBuffers buffers = new DirectBuffers(CHUNK_BYTES);
  private final byte[] copy = new byte[COPY_BYTES];

  private FileRanges(ModelVersion model) {
    this.model = model;
    this.weights = new Weights(model);
  }

  /**
   * The files of {@code model}, which must stay open.
   *
   * @throws IOException if it is a GGUF model, whose files are written by one process
   */
  public static FileRanges of(ModelVersion model) throws IOException {
    ModelVersion origin = DerivedModel.origin(model);
    if (origin instanceof GgufModel || origin instanceof NewGguf) {
      throw new IOException(Names.quote(model.name()) + " is a GGUF model, which is written by one process only");
    }
    return new FileRanges(model);
  }

  /**
   * All files in ranges of at most {@code most} bytes, unless an element is longer. Ranges end between elements, so that what is counted of
   * them adds up; the same model and number give the same ranges.
   */
  public List<Range> split(long most) {
    if (most < 1) {
      throw new IllegalArgumentException("a range must have at least 1 byte but was to have " + most);
    }
    List<Range> ranges = new ArrayList<>();
    for (int file = 0; file < model.shards().size(); file++) {
      split(file, most, ranges);
    }
    return ranges;
  }

  private void split(int file, long most, List<Range> ranges) {
    long start = 0;
    long runStart = 0;
    for (Run run : weights.safetensors(model.shards().get(file))) {
      long runEnd = runStart + run.bytes();
      while (runEnd - start > most) {
        long inRun = Math.max(0, start + most - runStart) / run.unit() * run.unit();
        long cut = runStart + inRun > start ? runStart + inRun : Math.min(runEnd, Math.max(start, runStart) + run.unit());
        ranges.add(new Range(file, start, cut));
        start = cut;
      }
      runStart = runEnd;
    }
    if (start < runStart) {
      ranges.add(new Range(file, start, runStart));
    }
  }

  /** Computes a range and writes it. */
  public void write(Range range, OutputStream out) throws IOException {
    Shard shard = model.shards().get(range.file());
    long runStart = 0;
    for (Run run : weights.safetensors(shard)) {
      long from = Math.max(range.from(), runStart) - runStart;
      long to = Math.min(range.to(), runStart + run.bytes()) - runStart;
      int step = CHUNK_BYTES - CHUNK_BYTES % run.unit();
      for (long offset = from; offset < to; offset += step) {
        write(run, offset, (int) Math.min(step, to - offset), out);
      }
      runStart += run.bytes();
    }
  }

  private void write(Run run, long offset, int length, OutputStream out) throws IOException {
    ByteBuffer buffer = buffers.lend(length);
    try {
      run.source().read(offset, buffer);
      buffer.flip();
      while (buffer.hasRemaining()) {
        int count = Math.min(copy.length, buffer.remaining());
        buffer.get(copy, 0, count);
        out.write(copy, 0, count);
      }
    } finally {
      buffers.takeBack(buffer);
    }
  }

  /** For each changed tensor of which something was written, what rounding did to that. */
  public Map<String, Rounding> rounding() {
    return Map.copyOf(weights.rounding());
  }

  /** The bytes of {@code model.safetensors.index.json}, if the model has one. */
  public Optional<byte[]> index() throws IOException {
    return IndexFile.of(model);
  }
}
