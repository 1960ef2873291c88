package io.portllm.io.internal.record;

import com.google.common.hash.Hasher;
import com.google.common.hash.Hashing;
import io.portllm.Fingerprint;
import io.portllm.ModelVersion;
import io.portllm.TensorInfo;
import io.portllm.internal.jfr.Stage;
import io.portllm.internal.run.Progress;
import io.portllm.io.WriteOptions;
import io.portllm.io.internal.files.Paths;
import io.portllm.io.internal.write.Parallel;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Stream;

/** The digests of files and tensors, computed by several threads. */
public final class Digests {
  private static final int RUN_BYTES = 1 << 20;

  /** What is in a folder besides the model. */
  private static final Set<String> OWN = Set.of(OutputRecord.NAME, OutputRecord.JOURNAL);

  private final Map<String, String> files = new ConcurrentHashMap<>();
  private final List<Work> work = new ArrayList<>();

  /** One task and the bytes it goes through. */
  private record Work(long bytes, Parallel.Task task) {}

  /** Adds all files below an output but its record and its journal, or the output itself if it is a file, then called {@code name}. */
  public Digests files(Path output, String name) throws IOException {
    if (!Files.isDirectory(output)) {
      add(name, output);
      return this;
    }
    try (Stream<Path> paths = Files.walk(output)) {
      for (Path path : (Iterable<Path>) paths.sorted()::iterator) {
        Path below = output.relativize(path);
        boolean isOwn = below.getNameCount() == 1 && OWN.contains(below.toString());
        if (!isOwn && !Files.isDirectory(path, LinkOption.NOFOLLOW_LINKS)) {
          add(below.toString().replace(output.getFileSystem().getSeparator(), "/"), path);
        }
      }
    }
    return this;
  }

  private void add(String name, Path file) throws IOException {
    long size = Paths.regularFile(file).size();
    work.add(new Work(size, () -> files.put(name, sha256(file))));
  }

  /** Adds tensors, whose digests go into {@code digests}, which must allow for several threads. */
  public Digests tensors(ModelVersion model, Iterable<TensorInfo> tensors, Map<String, String> digests) {
    for (TensorInfo tensor : tensors) {
      work.add(new Work(tensor.bytes(), () -> digests.put(tensor.name(), Fingerprint.digest(model, tensor))));
    }
    return this;
  }

  /** Computes what was added; the largest first, so that threads end at about the same time. */
  public void run(WriteOptions options) throws IOException {
    Progress progress = new Progress(options.progress(), work.stream().mapToLong(Work::bytes).sum());
    List<Parallel.Task> tasks = new ArrayList<>();
    work.stream()
        .sorted((a, b) -> Long.compare(b.bytes(), a.bytes()))
        .forEach(
            one ->
                tasks.add(
                    () -> {
                      one.task().run();
                      progress.add(one.bytes());
                    }));
    Parallel.run(options, tasks);
  }

  /** The SHA-256 of each file that was added, by name. */
  public Map<String, String> ofFiles() {
    return new TreeMap<>(files);
  }

  /** The SHA-256 of a file, 64 lower-case hexadecimal digits. */
  public static String sha256(Path file) throws IOException {
    Hasher hasher = Hashing.sha256().newHasher();
    byte[] run = new byte[RUN_BYTES];
    Stage stage = Stage.hash(file, Files.size(file));
    try (InputStream in = Files.newInputStream(file)) {
      for (int read = in.read(run); read >= 0; read = in.read(run)) {
        hasher.putBytes(run, 0, read);
      }
    }
    stage.done();
    return hasher.hash().toString();
  }
}
