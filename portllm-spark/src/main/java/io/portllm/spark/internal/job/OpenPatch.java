package io.portllm.spark.internal.job;

import io.portllm.BasePolicy;
import io.portllm.FineTuned;
import io.portllm.MergeOptions;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.Shard;
import io.portllm.io.Checkpoints;
import io.portllm.io.PatchFile;
import io.portllm.io.PeftAdapter;
import io.portllm.spark.HadoopPaths;
import io.portllm.spark.PatchSource;
import java.io.Closeable;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;

/** Models and patches that one task, or the driver, has open. Not safe for use by several threads. */
final class OpenPatch implements Closeable {
  private final String run;
  private final Configuration configuration;
  private final ModelCache cache;
  private final List<ModelCache.Lease<?>> leases = new ArrayList<>();
  private final List<Path> files = new ArrayList<>();

  /** Nothing is open yet. */
  OpenPatch(String run, Configuration configuration, ModelCache cache) {
    this.run = run;
    this.configuration = configuration;
    this.cache = cache;
  }

  /** The model at a place, usable until this is closed. */
  ModelVersion model(String location) throws IOException {
    Path path = HadoopPaths.of(location, configuration);
    ModelVersion model = lease(ModelVersion.class, location, () -> Checkpoints.open(path));
    boolean folder = Files.isDirectory(path);
    for (Shard shard : model.shards()) {
      files.add(folder ? path.resolve(shard.fileName()) : path);
    }
    return model;
  }

  /** The patch, usable until this is closed. */
  Patch patch(PatchSource source, MergeOptions options) throws IOException {
    Patch patch = whole(source, options);
    Patch chosen = source.only().isEmpty() ? patch : patch.only(source.only().toArray(String[]::new));
    chosen = source.except().isEmpty() ? chosen : chosen.except(source.except().toArray(String[]::new));
    return chosen.scaledBy(source.scale());
  }

  private Patch whole(PatchSource source, MergeOptions options) throws IOException {
    Path path = HadoopPaths.of(source.location(), configuration);
    switch (source.kind()) {
      case FINE_TUNED -> {
        ModelVersion base = model(source.base().orElseThrow());
        return Patch.from(model(source.location()), base, options);
      }
      case ADAPTER -> {
        PeftAdapter adapter = lease(PeftAdapter.class, source.location(), () -> PeftAdapter.open(path));
        files.add(path.resolve("adapter_model.safetensors"));
        Optional<String> base = source.base();
        if (base.isPresent()) {
          return Patch.from((FineTuned) adapter, model(base.get()), options);
        }
        return adapter.patch(options.withBasePolicy(BasePolicy.EVALUATE_ANEW));
      }
      case PATCH_FILE -> {
        PatchFile file = lease(PatchFile.class, source.location(), () -> PatchFile.open(path));
        files.add(path);
        return file.patch();
      }
      default -> throw new AssertionError(source.kind());
    }
  }

  private <T extends AutoCloseable> T lease(Class<T> type, String location, ModelCache.Opener<T> opener) throws IOException {
    ModelCache.Lease<T> lease = cache.lease(run, type, location, opener);
    leases.add(lease);
    return lease.get();
  }

  /** The weight files of all that was opened. */
  List<Path> files() {
    return List.copyOf(files);
  }

  @Override
  public void close() {
    leases.forEach(ModelCache.Lease::close);
  }
}
