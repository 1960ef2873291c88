package io.portllm.spark.internal.job;

import io.portllm.MergeOptions;
import io.portllm.ModelVersion;
import io.portllm.Rounding;
import io.portllm.io.internal.write.FileRanges;
import io.portllm.spark.PortRequest;
import io.portllm.spark.internal.hadoop.HadoopOutput;
import java.io.FilterOutputStream;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.io.OutputStream;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import org.apache.spark.TaskContext;
import org.apache.spark.api.java.function.Function;

/** Writes one piece of one output, by its number. Whatever happened to earlier attempts, it opens, computes and writes the same. */
final class PortTask implements Function<Integer, byte[]> {
  private static final long serialVersionUID = 1L;

  /**
   * What one task writes.
   *
   * @param request the number of the port
   * @param file the number of the weight file
   * @param name the file's name within the output
   * @param from the first byte of the file
   * @param to the byte after the last
   */
  record Piece(int request, int file, String name, long from, long to) implements Serializable {
    private static final long serialVersionUID = 1L;
  }

  /**
   * What one task wrote.
   *
   * @param part where it is
   * @param rounding for each changed tensor what rounding did to this piece of it
   */
  record Written(String part, HashMap<String, Rounding> rounding) implements Serializable {
    private static final long serialVersionUID = 1L;
  }

  /** Ends an attempt that Spark has given up, which it does not end by itself. */
  private static final class UntilKilled extends FilterOutputStream {
    private final TaskContext task = TaskContext.get();

    private UntilKilled(OutputStream out) {
      super(out);
    }

    @Override
    public void write(byte[] bytes, int offset, int length) throws IOException {
      if (task.isInterrupted()) {
        throw new InterruptedIOException("the attempt was given up");
      }
      out.write(bytes, offset, length);
    }
  }

  private final String run;
  private final SerializedConfiguration configuration;
  private final ArrayList<PortRequest> requests;
  private final ArrayList<HadoopOutput> outputs;
  private final ArrayList<Piece> pieces;

  PortTask(String run, SerializedConfiguration configuration, List<PortRequest> requests, List<HadoopOutput> outputs, List<Piece> pieces) {
    this.run = run;
    this.configuration = configuration;
    this.requests = new ArrayList<>(requests);
    this.outputs = new ArrayList<>(outputs);
    this.pieces = new ArrayList<>(pieces);
  }

  /** The new base of {@code request} with the patch on it. */
  static ModelVersion ported(PortRequest request, OpenPatch open) throws IOException {
    MergeOptions options = request.mergeOptions();
    return open.patch(request.patch(), options).applyTo(open.model(request.onto()), options);
  }

  @Override
  public byte[] call(Integer number) throws IOException {
    Piece piece = pieces.get(number);
    try (OpenPatch open = new OpenPatch(run, configuration.get(), ModelCache.SHARED)) {
      FileRanges files = FileRanges.of(ported(requests.get(piece.request()), open));
      String attempt = number + "-" + TaskContext.get().taskAttemptId();
      String part = outputs.get(piece.request()).writePart(
          piece.name(),
          attempt,
          out -> files.write(new FileRanges.Range(piece.file(), piece.from(), piece.to()), new UntilKilled(out)),
          configuration.get());
      return Wire.encode(new Written(part, new HashMap<>(files.rounding())));
    }
  }
}
