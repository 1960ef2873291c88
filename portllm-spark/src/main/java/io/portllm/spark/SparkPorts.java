package io.portllm.spark;

import io.portllm.Fingerprint;
import io.portllm.io.WriteReport;
import io.portllm.portability.PortabilityReport;
import io.portllm.spark.internal.job.CheckJob;
import io.portllm.spark.internal.job.DiffJob;
import io.portllm.spark.internal.job.FingerprintTask;
import io.portllm.spark.internal.job.PortJob;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.apache.spark.api.java.JavaSparkContext;

/**
 * Ports and measures models as Spark jobs, with the bytes and figures that one process gives. Immutable.
 *
 * <p>{@snippet :
 * SparkPorts ports = SparkPorts.on(context);
 * ports.port(PortRequest.of(
 *     PatchSource.fineTuned("s3a://models/clinic-405b", "s3a://models/llama-405b"),
 *     "s3a://models/llama-405b-new",
 *     "s3a://models/clinic-405b-new"));
 * }
 *
 * <p>A task writes one weight file or, where the file system can join parts, a range of it; it needs one core and some buffers of at most
 * 4 MiB outside the heap, whatever the model's size. Tasks that are lost, killed or run twice do no harm: what they write has names of
 * its own or the same bytes, and the driver puts the output in place once all is there. Inputs must not change meanwhile; the driver
 * compares their sizes and times.
 *
 * <p>Locations are as in {@link HadoopPaths#of}. Models are safetensors; GGUF models are for one process.
 */
public final class SparkPorts {
  /** The most bytes of a file that one task writes unless said otherwise: 1 GiB, some seconds to a minute of work. */
  public static final long DEFAULT_RANGE_BYTES = 1L << 30;

  private final JavaSparkContext context;
  private final long rangeBytes;

  private SparkPorts(JavaSparkContext context, long rangeBytes) {
    this.context = Objects.requireNonNull(context, "context");
    this.rangeBytes = rangeBytes;
  }

  /** Jobs of {@code context}, which stays the caller's. Its Hadoop configuration says how file systems are reached. */
  public static SparkPorts on(JavaSparkContext context) {
    return new SparkPorts(context, DEFAULT_RANGE_BYTES);
  }

  /**
   * These jobs with tasks of another size. What is written does not depend on it.
   *
   * @param bytes at least 1
   */
  public SparkPorts withRangeBytes(long bytes) {
    if (bytes < 1) {
      throw new IllegalArgumentException("a range must have at least 1 byte but was to have " + bytes);
    }
    return new SparkPorts(context, bytes);
  }

  /**
   * Puts a patch onto a new base, whole or not at all.
   *
   * @return what was written, with what rounding did
   * @throws java.nio.file.FileAlreadyExistsException if the output exists and is not to be overwritten
   * @throws io.portllm.IncompatibleModelException if patch and new base do not fit, or weights overflow or become infinite or NaN
   * @throws IOException if reading or writing failed, or an input changed
   */
  public WriteReport port(PortRequest request) throws IOException {
    return portAll(List.of(request)).get(0);
  }

  /**
   * Puts patches onto new bases, such as those of many tenants onto one, as one Spark job. Each output appears whole or not at all, once
   * all tasks are done; if one port is refused, none appears.
   *
   * @return what was written, in the order of the requests
   * @throws java.nio.file.FileAlreadyExistsException if an output exists and is not to be overwritten
   * @throws io.portllm.IncompatibleModelException if a patch and its new base do not fit, or weights overflow or become infinite or NaN
   * @throws IOException if reading or writing failed, or an input changed
   */
  public List<WriteReport> portAll(List<PortRequest> requests) throws IOException {
    return PortJob.run(context, List.copyOf(requests), rangeBytes);
  }

  /**
   * Writes patch files, such as those of many tenants, each of them whole or not at all: the same bytes as
   * {@link io.portllm.io.PatchFile#write}. Each is made by one task with {@code spark.task.cpus} threads; all files together appear once
   * every task is done.
   *
   * @param patches a patch for each file to make, whose name must end in {@code .safetensors}; written in the map's order
   * @param overwrite whether existing files are replaced
   * @return the bytes of each file, in the map's order
   * @throws java.nio.file.FileAlreadyExistsException if a file exists and is not to be overwritten
   * @throws io.portllm.IncompatibleModelException if a patch's models do not fit
   * @throws IOException if reading or writing failed, or an input changed
   */
  public List<Long> diffAll(Map<String, PatchSource> patches, boolean overwrite) throws IOException {
    return DiffJob.run(context, patches, overwrite);
  }

  /**
   * Judges whether a patch will work on a new base, as {@link io.portllm.portability.PortabilityCheck} does, with the same report. A task
   * measures some tensors.
   *
   * @param newBase where the new base is
   * @throws IOException if reading failed, or an input changed
   */
  public PortabilityReport check(PatchSource patch, String newBase) throws IOException {
    return checkAll(List.of(patch), newBase).get(0);
  }

  /**
   * Judges whether patches will work on one new base, such as those of many tenants, as one Spark job.
   *
   * @param newBase where the new base is
   * @return a report for each patch, in their order
   * @throws IOException if reading failed, or an input changed
   */
  public List<PortabilityReport> checkAll(List<PatchSource> patches, String newBase) throws IOException {
    return CheckJob.run(context, List.copyOf(patches), newBase, rangeBytes);
  }

  /**
   * The fingerprint of a model, the same as {@link Fingerprint#of(io.portllm.ModelVersion)}. A task reads some tensors.
   *
   * @param model where the model is
   * @throws IOException if reading failed
   */
  public Fingerprint fingerprint(String model) throws IOException {
    return FingerprintTask.run(context, model, rangeBytes);
  }
}
