package io.portllm.spark.internal.job;

import io.portllm.ModelVersion;
import io.portllm.Rounding;
import io.portllm.Shard;
import io.portllm.SideFile;
import io.portllm.TensorInfo;
import io.portllm.io.WriteReport;
import io.portllm.io.internal.safetensors.ShardIndex;
import io.portllm.io.internal.write.FileRanges;
import io.portllm.spark.HadoopPaths;
import io.portllm.spark.PortRequest;
import io.portllm.spark.internal.hadoop.HadoopOutput;
import io.portllm.spark.internal.job.PortTask.Piece;
import io.portllm.spark.internal.job.PortTask.Written;
import java.io.IOException;
import java.io.InputStream;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.api.java.JavaSparkContext;

/** Ports on a cluster: planned and committed here, written by tasks. */
public final class PortJob {
  /** What the driver knows of one port. */
  private record Plan(
      PortRequest request, HadoopOutput output, InputStamps stamps, List<String> files, List<String> others, int tensors, long bytes) {}

  private final JavaSparkContext context;
  private final Configuration configuration;
  private final long rangeBytes;
  private final String run = UUID.randomUUID().toString();
  private final long started = System.nanoTime();
  private final List<Plan> plans = new ArrayList<>();
  private final List<Piece> pieces = new ArrayList<>();

  private PortJob(JavaSparkContext context, long rangeBytes) {
    this.context = context;
    this.configuration = context.hadoopConfiguration();
    this.rangeBytes = rangeBytes;
  }

  /**
   * Runs all ports as one Spark job.
   *
   * @param rangeBytes the most bytes of a file that one task writes
   * @return what was written, in the order of the requests
   */
  public static List<WriteReport> run(JavaSparkContext context, List<PortRequest> requests, long rangeBytes) throws IOException {
    PortJob job = new PortJob(context, rangeBytes);
    Set<String> targets = new HashSet<>();
    for (PortRequest request : requests) {
      Plan plan = job.plan(request);
      if (!targets.add(plan.output().target())) {
        throw new IllegalArgumentException("two ports have the output " + plan.output().target());
      }
    }
    return job.run();
  }

  private Plan plan(PortRequest request) throws IOException {
    // Opened anew for each, so that the driver never holds more than the models of one port.
    try (OpenPatch open = new OpenPatch(run, configuration, new ModelCache())) {
      ModelVersion ported = PortTask.ported(request, open);
      boolean folder = !request.output().endsWith(".safetensors");
      if (!folder && ported.shards().size() != 1) {
        throw new IOException(
            "[" + request.output() + "] is one file, but the new base has " + ported.shards().size() + " weight files; name a folder");
      }
      HadoopOutput output = HadoopOutput.of(request.output(), folder, request.overwrites(), run, configuration);
      InputStamps stamps = new InputStamps(open.files());
      ported.verifyUnchanged();
      List<String> names = ported.shards().stream().map(Shard::fileName).toList();
      long bytes = ported.tensors().stream().mapToLong(TensorInfo::bytes).sum();
      for (FileRanges.Range range : FileRanges.of(ported).split(output.joinsParts(configuration) ? rangeBytes : Long.MAX_VALUE)) {
        pieces.add(new Piece(plans.size(), range.file(), names.get(range.file()), range.from(), range.to()));
      }
      List<String> others = folder
          ? Stream.concat(ported.sideFiles().stream().map(SideFile::name), Stream.of(ShardIndex.FILE_NAME)).toList()
          : List.of();
      Plan plan = new Plan(request, output, stamps, names, others, ported.tensors().size(), bytes);
      plans.add(plan);
      return plan;
    }
  }

  private List<WriteReport> run() throws IOException {
    // Ports onto one base read the same bytes of it one after the other, while the system still has them in memory.
    pieces.sort(Comparator.comparingInt(Piece::file).thenComparingLong(Piece::from).thenComparingInt(Piece::request));
    List<HadoopOutput> outputs = plans.stream().map(Plan::output).toList();
    int committed = 0;
    try {
      for (HadoopOutput output : outputs) {
        output.begin(configuration);
      }
      List<PortRequest> requests = plans.stream().map(Plan::request).toList();
      PortTask task = new PortTask(run, new SerializedConfiguration(configuration), requests, outputs, pieces);
      List<Written> written = Jobs.run(context, pieces.size(), task, Written.class);
      List<WriteReport> reports = new ArrayList<>();
      for (int number = 0; number < plans.size(); number++) {
        reports.add(commit(number, written));
        committed++;
      }
      return reports;
    } catch (Throwable e) {
      for (Plan plan : plans.subList(committed, plans.size())) {
        plan.output().discard(Stream.concat(plan.files().stream(), plan.others().stream()).toList(), e, configuration);
      }
      throw e;
    }
  }

  private WriteReport commit(int number, List<Written> written) throws IOException {
    Plan plan = plans.get(number);
    Map<String, Rounding> rounding = new HashMap<>();
    for (int file = 0; file < plan.files().size(); file++) {
      List<String> parts = new ArrayList<>();
      long bytes = 0;
      for (int i = 0; i < pieces.size(); i++) {
        Piece piece = pieces.get(i);
        if (piece.request() == number && piece.file() == file) {
          parts.add(written.get(i).part());
          bytes = piece.to();
          written.get(i).rounding().forEach((tensor, counts) -> rounding.merge(tensor, counts, Rounding::plus));
        }
      }
      plan.output().assemble(plan.files().get(file), parts, bytes, configuration);
    }
    try (OpenPatch open = new OpenPatch(run, configuration, new ModelCache())) {
      ModelVersion ported = PortTask.ported(plan.request(), open);
      if (!plan.request().output().endsWith(".safetensors")) {
        writeOthers(ported, plan.output());
      }
    }
    plan.stamps().verify();
    plan.output().commit(configuration);
    return new WriteReport(
        HadoopPaths.of(plan.request().output(), configuration),
        plan.tensors(),
        plan.bytes(),
        rounding,
        Map.of(),
        Duration.ofNanos(System.nanoTime() - started));
  }

  /** What lies beside the weights, the index last: without it nobody takes a folder of several files for a model. */
  private void writeOthers(ModelVersion ported, HadoopOutput output) throws IOException {
    for (SideFile side : ported.sideFiles()) {
      output.writeWhole(
          side.name(),
          out -> {
            try (InputStream in = side.open()) {
              in.transferTo(out);
            }
          },
          configuration);
    }
    Optional<byte[]> index = FileRanges.of(ported).index();
    if (index.isPresent()) {
      output.writeWhole(ShardIndex.FILE_NAME, out -> out.write(index.get()), configuration);
    }
  }
}
