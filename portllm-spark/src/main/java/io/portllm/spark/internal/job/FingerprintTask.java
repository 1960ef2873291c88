package io.portllm.spark.internal.job;

import io.portllm.Fingerprint;
import io.portllm.ModelVersion;
import io.portllm.TensorInfo;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.api.java.function.Function;

/** Digests of the tensors of a model, some at a time. */
public final class FingerprintTask implements Function<Integer, byte[]> {
  private static final long serialVersionUID = 1L;

  private final String run;
  private final SerializedConfiguration configuration;
  private final String location;
  private final ArrayList<ArrayList<String>> groups;

  private FingerprintTask(String run, Configuration configuration, String location, ArrayList<ArrayList<String>> groups) {
    this.run = run;
    this.configuration = new SerializedConfiguration(configuration);
    this.location = location;
    this.groups = groups;
  }

  /**
   * The fingerprint of the model at {@code location}.
   *
   * @param rangeBytes the most bytes that one task reads, unless a tensor is larger
   */
  public static Fingerprint run(JavaSparkContext context, String location, long rangeBytes) throws IOException {
    String run = UUID.randomUUID().toString();
    Configuration configuration = context.hadoopConfiguration();
    try (OpenPatch open = new OpenPatch(run, configuration, new ModelCache())) {
      ModelVersion model = open.model(location);
      InputStamps stamps = new InputStamps(open.files());
      model.verifyUnchanged();
      ArrayList<ArrayList<String>> groups = groups(model.tensors(), rangeBytes);
      FingerprintTask task = new FingerprintTask(run, configuration, location, groups);
      Map<String, String> digests = new HashMap<>();
      for (HashMap<?, ?> found : Jobs.run(context, groups.size(), task, HashMap.class)) {
        found.forEach((tensor, digest) -> digests.put((String) tensor, (String) digest));
      }
      stamps.verify();
      return Fingerprint.of(digests);
    }
  }

  /** Tensors that lie side by side, as many as have this many bytes together; at least one. */
  static ArrayList<ArrayList<String>> groups(List<TensorInfo> tensors, long most) {
    ArrayList<ArrayList<String>> groups = new ArrayList<>();
    long filled = 0;
    for (TensorInfo tensor : tensors) {
      if (groups.isEmpty() || filled + tensor.bytes() > most) {
        groups.add(new ArrayList<>());
        filled = 0;
      }
      groups.get(groups.size() - 1).add(tensor.name());
      filled += tensor.bytes();
    }
    return groups;
  }

  @Override
  public byte[] call(Integer number) throws IOException {
    try (OpenPatch open = new OpenPatch(run, configuration.get(), ModelCache.SHARED)) {
      ModelVersion model = open.model(location);
      HashMap<String, String> digests = new HashMap<>();
      for (String tensor : groups.get(number)) {
        digests.put(tensor, Fingerprint.digest(model, model.find(tensor).orElseThrow()));
      }
      return Wire.encode(digests);
    }
  }
}
