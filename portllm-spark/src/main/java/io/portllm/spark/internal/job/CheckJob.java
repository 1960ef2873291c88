package io.portllm.spark.internal.job;

import io.portllm.MergeOptions;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.ProgressListener;
import io.portllm.internal.portability.Checker;
import io.portllm.portability.PortabilityReport;
import io.portllm.spark.PatchSource;
import java.io.IOException;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.api.java.function.Function;

/** Portability checks on a cluster: tasks measure some tensors for one patch, the driver judges. */
public final class CheckJob implements Function<Integer, byte[]> {
  private static final long serialVersionUID = 1L;

  /** Some tensors to measure for one patch. */
  private record Group(int patch, ArrayList<String> tensors) implements Serializable {
    private static final long serialVersionUID = 1L;
  }

  /** What was measured of them. */
  private record Found(HashMap<String, Checker.Measured> tensors) implements Serializable {
    private static final long serialVersionUID = 1L;
  }

  /** What to do with a patch and a new base that are open. */
  private interface Use<T> {
    T apply(Checker checker, Patch patch, ModelVersion newBase) throws IOException;
  }

  private final String run = UUID.randomUUID().toString();
  private final SerializedConfiguration configuration;
  private final ArrayList<PatchSource> patches;
  private final String newBase;
  private final ArrayList<Group> groups = new ArrayList<>();

  private CheckJob(Configuration configuration, List<PatchSource> patches, String newBase) {
    this.configuration = new SerializedConfiguration(configuration);
    this.patches = new ArrayList<>(patches);
    this.newBase = newBase;
  }

  /**
   * Judges patches on one new base.
   *
   * @param rangeBytes the most bytes of the new base that one task measures, unless a tensor is larger
   * @return a report for each patch, in their order
   */
  public static List<PortabilityReport> run(JavaSparkContext context, List<PatchSource> patches, String newBase, long rangeBytes)
      throws IOException {
    CheckJob job = new CheckJob(context.hadoopConfiguration(), patches, newBase);
    InputStamps stamps = job.plan(rangeBytes);
    List<Found> found = Jobs.run(context, job.groups.size(), job, Found.class);
    List<PortabilityReport> reports = new ArrayList<>();
    for (int number = 0; number < patches.size(); number++) {
      Map<String, Checker.Measured> measured = new HashMap<>();
      for (int i = 0; i < job.groups.size(); i++) {
        if (job.groups.get(i).patch() == number) {
          measured.putAll(found.get(i).tensors());
        }
      }
      try (OpenPatch open = new OpenPatch(job.run, context.hadoopConfiguration(), new ModelCache())) {
        reports.add(job.with(open, patches.get(number), (checker, patch, model) -> checker.report(patch, model, measured)));
      }
    }
    stamps.verify();
    return reports;
  }

  private InputStamps plan(long rangeBytes) throws IOException {
    InputStamps stamps;
    List<ArrayList<String>> tensors;
    try (OpenPatch open = new OpenPatch(run, configuration.get(), new ModelCache())) {
      ModelVersion model = open.model(newBase);
      tensors = FingerprintTask.groups(Checker.measured(model), rangeBytes);
      stamps = new InputStamps(open.files());
      model.verifyUnchanged();
    }
    for (ArrayList<String> group : tensors) {
      for (int number = 0; number < patches.size(); number++) {
        groups.add(new Group(number, group));
      }
    }
    return stamps;
  }

  private <T> T with(OpenPatch open, PatchSource source, Use<T> use) throws IOException {
    MergeOptions options = MergeOptions.defaults();
    Optional<ModelVersion> oldBase = source.base().isPresent() ? Optional.of(open.model(source.base().get())) : Optional.empty();
    Checker checker = new Checker(oldBase, options, 1, ProgressListener.NONE, () -> false);
    return use.apply(checker, open.patch(source, options), open.model(newBase));
  }

  @Override
  public byte[] call(Integer number) throws IOException {
    Group group = groups.get(number);
    try (OpenPatch open = new OpenPatch(run, configuration.get(), ModelCache.SHARED)) {
      return Wire.encode(with(
          open,
          patches.get(group.patch()),
          (checker, patch, model) -> new Found(new HashMap<>(checker.measure(patch, model, group.tensors())))));
    }
  }
}
