package io.portllm.io.internal.write;

import com.google.common.collect.ImmutableList;
import io.portllm.ModelVersion;
import io.portllm.Shard;
import io.portllm.internal.text.Names;
import io.portllm.io.WriteOptions;
import io.portllm.io.internal.files.StoredModel;
import io.portllm.io.internal.record.Digests;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;

/**
 * What a folder takes over from earlier writes that did not end, and what it leaves for later ones if it does not end itself. Does nothing
 * unless the options ask for it.
 *
 * <p>A file is taken over if the journal beside it is of the same work and its bytes have the digest noted there: it is noted in the new
 * journal and then moved, so that a process that dies in between has lost neither.
 */
final class Resumption implements AutoCloseable {
  private final WriteOptions options;
  private final Weights weights;
  private final Output output;
  private final Disk disk;
  private final Optional<Work> work;
  private final Optional<Journal> journal;
  private final Map<String, Journal.Finished> taken = new TreeMap<>();
  private final List<String> refused = new ArrayList<>();
  private boolean ended;

  /** A file that an earlier write says it had finished. */
  private record Candidate(Journal.Finished noted, Path folder) {
    Path file() {
      return folder.resolve(noted.file());
    }
  }

  /**
   * Begins the journal.
   *
   * @param inputs the files that the model is known to be read from
   */
  Resumption(ModelVersion model, List<StoredModel> inputs, WriteOptions options, Weights weights, Output output, Disk disk)
      throws IOException {
    this.options = options;
    this.weights = weights;
    this.output = output;
    this.disk = disk;
    this.work = options.resumableWork().isPresent() ? Optional.of(Work.of(model, inputs, options)) : Optional.empty();
    this.journal = work.isPresent() ? Optional.of(new Journal(output.temporary(), work.get(), disk)) : Optional.empty();
  }

  /**
   * Moves finished files of earlier writes to their places, and deletes what else these left.
   *
   * @param files the places of all weight files; those that were taken over are removed
   * @return their bytes
   */
  long takeOver(Map<Path, Shard> files) throws IOException {
    if (work.isEmpty()) {
      return 0;
    }
    Map<String, Path> places = new HashMap<>();
    files.forEach((place, shard) -> places.put(shard.fileName(), place));
    List<Candidate> candidates = new ArrayList<>();
    for (Path leftover : output.leftovers()) {
      candidates.addAll(candidates(leftover, places.keySet()));
    }
    List<Optional<String>> faults = faults(candidates);
    for (int i = 0; i < candidates.size(); i++) {
      Candidate candidate = candidates.get(i);
      if (faults.get(i).isEmpty() && !taken.containsKey(candidate.noted().file())) {
        journal.orElseThrow().add(candidate.noted());
        disk.move(candidate.file(), places.get(candidate.noted().file()));
        taken.put(candidate.noted().file(), candidate.noted());
        weights.add(candidate.noted());
      }
    }
    for (int i = 0; i < candidates.size(); i++) {
      String name = candidates.get(i).noted().file();
      if (faults.get(i).isPresent() && !taken.containsKey(name)) {
        refused.add("file " + Names.quote(name) + " of an earlier write was not used because " + faults.get(i).get());
      }
    }
    output.deleteLeftovers();
    files.values().removeIf(shard -> taken.containsKey(shard.fileName()));
    return taken.values().stream().mapToLong(Journal.Finished::bytes).sum();
  }

  private List<Candidate> candidates(Path leftover, Set<String> names) throws IOException {
    Optional<Journal.Contents> found = isOurs(leftover) ? Journal.read(leftover) : Optional.empty();
    Optional<String> why =
        found.isPresent() ? work.orElseThrow().difference(found.get().work()) : Optional.of("it left no journal that can be read");
    if (why.isPresent()) {
      refused.add("what an earlier write left was not used because " + why.get());
      return List.of();
    }
    return found.get().files().stream().filter(noted -> names.contains(noted.file())).map(noted -> new Candidate(noted, leftover)).toList();
  }

  /** What is wrong with each candidate, whose bytes are all read. */
  private List<Optional<String>> faults(List<Candidate> candidates) throws IOException {
    String[] faults = new String[candidates.size()];
    List<Parallel.Task> tasks = new ArrayList<>();
    for (int i = 0; i < faults.length; i++) {
      int number = i;
      tasks.add(() -> faults[number] = fault(candidates.get(number)));
    }
    Parallel.run(options, tasks);
    List<Optional<String>> found = new ArrayList<>();
    for (String fault : faults) {
      found.add(Optional.ofNullable(fault));
    }
    return found;
  }

  private String fault(Candidate candidate) {
    Path file = candidate.file();
    try {
      boolean isLinked = !file.toRealPath().equals(candidate.folder().toRealPath().resolve(candidate.noted().file()));
      if (isLinked || !Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS) || !isOurs(file)) {
        return "it is a link, or another user's";
      }
      boolean isSame = Files.size(file) == candidate.noted().bytes() && Digests.sha256(file).equals(candidate.noted().sha256());
      return isSame ? null : "its bytes are not those that were written";
    } catch (IOException e) {
      return "it cannot be read";
    }
  }

  /** Whether the owner is the one of the new folder: others may not put files into an output. */
  private boolean isOurs(Path path) throws IOException {
    try {
      return Files.getOwner(path, LinkOption.NOFOLLOW_LINKS).equals(Files.getOwner(output.temporary(), LinkOption.NOFOLLOW_LINKS));
    } catch (UnsupportedOperationException e) {
      return true;
    }
  }

  /** Notes that a weight file is finished and on the disk. */
  void finished(Path place, Shard shard) throws IOException {
    if (journal.isPresent()) {
      journal.get().add(weights.finished(shard, Files.size(place), Digests.sha256(place)));
    }
  }

  /** The names of the files that were taken over. */
  List<String> taken() {
    return ImmutableList.copyOf(taken.keySet());
  }

  /** What was not, a line each. */
  List<String> refused() {
    return ImmutableList.copyOf(refused);
  }

  /** Deletes the journal: either all is finished, or nothing is of use to anyone. */
  void end() throws IOException {
    ended = true;
    if (journal.isPresent()) {
      journal.get().close();
      disk.delete(output.temporary().resolve(Journal.NAME));
    }
  }

  /** Leaves what is finished to the next write. */
  @Override
  public void close() throws IOException {
    if (journal.isPresent()) {
      journal.get().close();
      if (!ended && journal.get().hasFiles()) {
        output.keep();
      }
    }
  }
}
