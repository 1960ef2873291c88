package io.portllm.io;

import io.portllm.internal.text.Names;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.function.UnaryOperator;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * Finds models that Hugging Face's tools have downloaded, by name and revision. Reads this machine's cache only, never the network.
 *
 * <p>{@snippet :
 * ModelVersion base = Checkpoints.open(HubCache.find("meta-llama/Llama-3.1-8B", "main"));
 * }
 *
 * <pre>
 * CACHE/models--ORG--NAME/refs/REVISION       the commit that a branch or tag stood for when it was last downloaded
 * CACHE/models--ORG--NAME/snapshots/COMMIT/   the files of a commit, mostly links
 * CACHE/models--ORG--NAME/blobs/              what they lead to
 * </pre>
 */
public final class HubCache {
  /** The revision that is meant where none is named: {@value}. */
  public static final String DEFAULT_REVISION = "main";

  private static final Pattern NAME = Pattern.compile("[\\p{Alnum}._-]{1,96}(/[\\p{Alnum}._-]{1,96})?");
  private static final Pattern REVISION = Pattern.compile("[^/\\\\:\\p{Cntrl}]{1,255}(/[^/\\\\:\\p{Cntrl}]{1,255})*");
  private static final Pattern COMMIT = Pattern.compile("[\\p{Alnum}_-]{1,255}");

  /** The longest file that a branch's commit is read from; a commit has 40 digits. */
  private static final int LONGEST_REF = 256;

  private HubCache() {}

  /**
   * The cache that Hugging Face's tools use here: the folder that the environment variable {@code HF_HUB_CACHE} names, or
   * {@code HUGGINGFACE_HUB_CACHE}, or {@code hub} in the one that {@code HF_HOME} names, or {@code huggingface/hub} in
   * {@code XDG_CACHE_HOME}, or {@code .cache/huggingface/hub} in the user's home. It need not exist.
   */
  public static Path location() {
    return location(System::getenv, Path.of(System.getProperty("user.home")));
  }

  static Path location(UnaryOperator<String> environment, Path home) {
    for (String variable : List.of("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")) {
      if (isSet(environment.apply(variable))) {
        return expand(environment.apply(variable), home);
      }
    }
    if (isSet(environment.apply("HF_HOME"))) {
      return expand(environment.apply("HF_HOME"), home).resolve("hub");
    }
    String caches = environment.apply("XDG_CACHE_HOME");
    return (isSet(caches) ? expand(caches, home) : home.resolve(".cache")).resolve("huggingface").resolve("hub");
  }

  private static boolean isSet(String value) {
    return value != null && !value.isEmpty();
  }

  private static Path expand(String value, Path home) {
    if (value.equals("~")) {
      return home;
    }
    return value.startsWith("~/") ? home.resolve(value.substring(2)) : home.getFileSystem().getPath(value);
  }

  /**
   * The folder of a model in the cache at {@link #location}.
   *
   * @param name as on the hub, such as {@code meta-llama/Llama-3.1-8B}
   * @param revision a branch, a tag, or a commit with all its digits
   * @return a folder for {@link Checkpoints#open}, or for {@link PeftAdapter#open}; not all of its files may have been downloaded
   * @throws IllegalArgumentException if there can be no such name or revision
   * @throws FileNotFoundException saying what was looked for, where, and what is there instead, if the cache does not have it
   * @throws IOException if reading failed
   */
  public static Path find(String name, String revision) throws IOException {
    return find(location(), name, revision);
  }

  /**
   * The folder of a model in a cache.
   *
   * @param cache the folder that holds {@code models--ORG--NAME}
   * @throws IllegalArgumentException if there can be no such name or revision
   * @throws FileNotFoundException saying what was looked for, where, and what is there instead, if the cache does not have it
   * @throws IOException if reading failed
   */
  public static Path find(Path cache, String name, String revision) throws IOException {
    if (!NAME.matcher(name).matches() || name.contains("..") || name.contains("--")) {
      throw new IllegalArgumentException("the name of a model on the hub is like 'organisation/model' but was " + Names.quote(name));
    }
    if (!REVISION.matcher(revision).matches() || List.of(revision.split("/")).stream().anyMatch(part -> part.matches("\\.+"))) {
      throw new IllegalArgumentException("a revision is a branch, a tag or a commit but was " + Names.quote(revision));
    }
    Path repository = cache.resolve("models--" + name.replace("/", "--"));
    String what = Names.quote(name) + " at revision " + Names.quote(revision);
    if (!Files.isDirectory(repository)) {
      String hint = Files.isDirectory(cache)
          ? "expected the folder " + Names.quote(repository.getFileName().toString())
          : "there is no such folder (HF_HUB_CACHE or HF_HOME in the environment name another)";
      throw new FileNotFoundException("[" + cache + "] does not hold " + what + ": " + hint);
    }
    Path snapshots = repository.resolve("snapshots");
    Path ref = repository.resolve("refs").resolve(revision);
    String commit = Files.isRegularFile(ref) ? commit(ref) : revision;
    Path snapshot = snapshots.resolve(commit);
    if (!COMMIT.matcher(commit).matches() || !Files.isDirectory(snapshot)) {
      String known = commit.equals(revision) ? "" : "the revision is commit " + Names.quote(commit) + ", of which nothing was downloaded; ";
      String held = listed(repository.resolve("refs"), snapshots);
      throw new FileNotFoundException("[" + repository + "] does not hold " + what + ": " + known + held);
    }
    return snapshot;
  }

  private static String commit(Path ref) throws IOException {
    if (Files.size(ref) > LONGEST_REF) {
      throw new IOException("[" + ref + "] should hold a commit but has " + Files.size(ref) + " bytes");
    }
    return Files.readString(ref, StandardCharsets.ISO_8859_1).strip();
  }

  private static String listed(Path refs, Path snapshots) throws IOException {
    List<String> revisions = new ArrayList<>(names(refs));
    revisions.addAll(names(snapshots));
    return revisions.isEmpty()
        ? "it holds no revision"
        : "it holds " + revisions.stream().limit(10).map(Names::quote).collect(Collectors.joining(", "));
  }

  private static List<String> names(Path folder) throws IOException {
    if (!Files.isDirectory(folder)) {
      return List.of();
    }
    List<String> names = new ArrayList<>();
    try (DirectoryStream<Path> entries = Files.newDirectoryStream(folder)) {
      entries.forEach(entry -> names.add(entry.getFileName().toString()));
    } catch (DirectoryIteratorException e) {
      throw e.getCause();
    }
    Collections.sort(names);
    return names;
  }
}
