package io.portllm.spark.internal.job;

import io.portllm.MergeOptions;
import io.portllm.io.WriteOptions;
import io.portllm.io.internal.patchfile.PatchContents;
import io.portllm.io.internal.write.FileRanges;
import io.portllm.spark.PatchSource;
import io.portllm.spark.internal.hadoop.HadoopOutput;
import java.io.IOException;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.TaskContext;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.api.java.function.Function;

/** Patch files made on a cluster, each by one task: what a file can leave out is known only when all of a patch was read. */
public final class DiffJob implements Function<Integer, byte[]> {
  private static final long serialVersionUID = 1L;

  /** What one task wrote. */
  private record Written(String part, long bytes) implements Serializable {
    private static final long serialVersionUID = 1L;
  }

  private final String run = UUID.randomUUID().toString();
  private final SerializedConfiguration configuration;
  private final ArrayList<PatchSource> patches;
  private final ArrayList<HadoopOutput> outputs = new ArrayList<>();

  private DiffJob(Configuration configuration, Map<String, PatchSource> patches, boolean overwrite) throws IOException {
    this.configuration = new SerializedConfiguration(configuration);
    this.patches = new ArrayList<>(patches.values());
    for (String file : patches.keySet()) {
      if (!file.endsWith(".safetensors")) {
        throw new IllegalArgumentException("the name of a patch file must end in .safetensors but was " + file);
      }
      outputs.add(HadoopOutput.of(file, false, overwrite, run, configuration));
    }
  }

  /**
   * Writes patch files.
   *
   * @param patches a patch for each file
   * @return the bytes of each file, in their order
   */
  public static List<Long> run(JavaSparkContext context, Map<String, PatchSource> patches, boolean overwrite) throws IOException {
    Configuration configuration = context.hadoopConfiguration();
    DiffJob job = new DiffJob(configuration, patches, overwrite);
    List<Long> bytes = new ArrayList<>();
    try {
      List<InputStamps> stamps = job.begin();
      List<Written> written = Jobs.run(context, job.patches.size(), job, Written.class);
      for (int number = 0; number < written.size(); number++) {
        HadoopOutput output = job.outputs.get(number);
        output.assemble("patch.safetensors", List.of(written.get(number).part()), written.get(number).bytes(), configuration);
        stamps.get(number).verify();
        output.commit(configuration);
        bytes.add(written.get(number).bytes());
      }
      return bytes;
    } catch (Throwable e) {
      for (HadoopOutput output : job.outputs.subList(bytes.size(), job.outputs.size())) {
        output.discard(List.of("patch.safetensors"), e, configuration);
      }
      throw e;
    }
  }

  private List<InputStamps> begin() throws IOException {
    List<InputStamps> stamps = new ArrayList<>();
    for (PatchSource source : patches) {
      try (OpenPatch open = new OpenPatch(run, configuration.get(), new ModelCache())) {
        open.patch(source, MergeOptions.defaults());
        stamps.add(new InputStamps(open.files()));
      }
    }
    for (HadoopOutput output : outputs) {
      output.begin(configuration.get());
    }
    return stamps;
  }

  @Override
  public byte[] call(Integer number) throws IOException {
    TaskContext task = TaskContext.get();
    try (OpenPatch open = new OpenPatch(run, configuration.get(), ModelCache.SHARED)) {
      WriteOptions options = WriteOptions.defaults().withThreads(Math.max(1, task.cpus())).cancelledWhen(task::isInterrupted);
      try (PatchContents contents = PatchContents.of(open.patch(patches.get(number), MergeOptions.defaults()), options)) {
        FileRanges files = FileRanges.of(contents);
        List<FileRanges.Range> whole = files.split(Long.MAX_VALUE);
        String part = outputs.get(number).writePart(
            "patch.safetensors", number + "-" + task.taskAttemptId(), out -> files.write(whole.get(0), out), configuration.get());
        return Wire.encode(new Written(part, whole.get(0).bytes()));
      }
    }
  }
}
