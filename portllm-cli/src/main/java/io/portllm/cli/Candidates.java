package io.portllm.cli;

import com.google.common.io.MoreFiles;
import com.google.common.io.RecursiveDeleteOption;
import io.portllm.ModelVersion;
import io.portllm.Shard;
import io.portllm.io.Checkpoints;
import io.portllm.io.WriteOptions;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The files of models that are scored. Models that were opened are where they are; others are written to a temporary folder when they are
 * asked for, and removed when the next one is, or on closing: there is never more than one.
 */
final class Candidates implements AutoCloseable {
  private final Path folder;
  private final WriteOptions options;
  private final Map<ModelVersion, Path> opened = new IdentityHashMap<>();
  private Optional<ModelVersion> written = Optional.empty();
  private Path place;
  private int count;

  /**
   * Makes the temporary folder.
   *
   * @param scratch where to make it; the system's place for such without it
   * @param options how models are written
   */
  Candidates(Optional<Path> scratch, WriteOptions options) throws IOException {
    String prefix = "portllm-trial-";
    this.folder = scratch.isPresent() ? Files.createTempDirectory(scratch.get(), prefix) : Files.createTempDirectory(prefix);
    this.options = options;
  }

  /** Says where a model is that was opened. */
  void know(ModelVersion model, Path path) {
    opened.put(model, path);
  }

  /** Where the files of {@code model} are. */
  Path pathOf(ModelVersion model) throws IOException {
    Path known = opened.get(model);
    if (known != null) {
      return known;
    }
    if (written.filter(latest -> latest == model).isEmpty()) {
      remove();
      count++;
      place = folder.resolve("candidate-" + count + ending(model));
      Checkpoints.write(model, place, options);
      written = Optional.of(model);
    }
    return place;
  }

  /** What a model's file is called after its name: nothing for a folder. Models are written as those of their format were given. */
  private String ending(ModelVersion model) {
    List<Shard> files = model.shards();
    for (String ending : files.size() == 1 ? List.of(".gguf", ".safetensors") : List.<String>of()) {
      boolean given = opened.values().stream().anyMatch(path -> path.toString().endsWith(ending));
      if (files.get(0).fileName().endsWith(ending) && given) {
        return ending;
      }
    }
    return "";
  }

  private void remove() throws IOException {
    if (place != null && Files.exists(place)) {
      MoreFiles.deleteRecursively(place, RecursiveDeleteOption.ALLOW_INSECURE);
    }
    written = Optional.empty();
  }

  @Override
  public void close() throws IOException {
    MoreFiles.deleteRecursively(folder, RecursiveDeleteOption.ALLOW_INSECURE);
  }
}
