package io.portllm.io.internal.write;

import com.google.common.collect.ImmutableList;
import com.google.common.hash.Hasher;
import com.google.common.hash.Hashing;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.Shard;
import io.portllm.TensorInfo;
import io.portllm.internal.text.Names;
import io.portllm.io.WriteOptions;
import io.portllm.io.internal.files.StoredModel;
import io.portllm.io.internal.gguf.GgufModel;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.FileSystemNotFoundException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.security.CodeSource;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * What a write computes and from what. Two writes of equal work write equal bytes.
 *
 * @param facts by name: the program, the options, the plan of the output, and each input file
 */
record Work(Map<String, String> facts) {
  /** The bytes at either end of a file that are compared: what is changed in a header or at the end is seen whatever its times say. */
  private static final int END_BYTES = 1 << 20;

  private static final String INPUT = "input ";

  Work {
    facts = new LinkedHashMap<>(facts);
  }

  /**
   * The work of writing {@code model}.
   *
   * @param known inputs of the model, in addition to those that the options name
   */
  static Work of(ModelVersion model, Collection<StoredModel> known, WriteOptions options) throws IOException {
    Map<String, String> facts = new LinkedHashMap<>();
    facts.put("program", program());
    facts.put("options", options.resumableWork().orElseThrow());
    facts.put("output", plan(model));
    TreeSet<Path> files = new TreeSet<>();
    for (Path input : options.resumableInputs()) {
      if (Files.notExists(input)) {
        throw new NoSuchFileException(input.toString());
      }
      addFiles(input, files);
    }
    for (StoredModel input : known) {
      addFiles(input.path(), files);
      if (input instanceof GgufModel gguf) {
        gguf.parts().forEach(part -> files.add(part.file().path()));
      }
    }
    Map<String, String> inputs = new TreeMap<>();
    for (Path file : files) {
      Path real = file.toRealPath();
      inputs.put(INPUT + real, identity(real));
    }
    facts.putAll(inputs);
    return new Work(facts);
  }

  /** Adds a file, all parts of a split one, or the files in a folder and in the folders directly in it, where models have all theirs. */
  private static void addFiles(Path input, TreeSet<Path> files) throws IOException {
    if (GgufModel.isPartName(String.valueOf(input.getFileName()))) {
      entries(input.toAbsolutePath().getParent()).stream()
          .filter(path -> GgufModel.isPartName(path.getFileName().toString()))
          .forEach(files::add);
    } else if (!Files.isDirectory(input)) {
      files.add(input);
    } else {
      for (Path entry : entries(input)) {
        files.addAll(Files.isDirectory(entry) ? entries(entry) : List.of(entry));
      }
    }
    files.removeIf(path -> !Files.isRegularFile(path));
  }

  private static List<Path> entries(Path folder) throws IOException {
    try (DirectoryStream<Path> entries = Files.newDirectoryStream(folder)) {
      return ImmutableList.copyOf(entries);
    } catch (DirectoryIteratorException e) {
      throw e.getCause();
    }
  }

  /** The version, and the files that the classes are from where these are files: snapshots of one version differ. */
  private static String program() throws IOException {
    StringBuilder program = new StringBuilder("PortLLM " + Recorder.version() + ", Java " + Runtime.version());
    for (Class<?> one : List.of(Work.class, Patch.class)) {
      CodeSource source = one.getProtectionDomain().getCodeSource();
      if (source == null || source.getLocation() == null) {
        continue;
      }
      try {
        Path file = Path.of(source.getLocation().toURI());
        program.append(Files.isRegularFile(file) ? ", " + identity(file) : "");
      } catch (URISyntaxException | IllegalArgumentException | FileSystemNotFoundException e) {
        program.append(", ").append(source.getLocation());
      }
    }
    return program.toString();
  }

  /** A digest of names, types, shapes and order of all that is written. */
  private static String plan(ModelVersion model) {
    Hasher hasher = Hashing.sha256().newHasher();
    for (Shard shard : model.shards()) {
      put(hasher, shard.fileName());
      put(hasher, new TreeMap<>(shard.metadata()).toString());
      for (TensorInfo tensor : shard.tensors()) {
        put(hasher, tensor.name());
        put(hasher, tensor.dtype() + " " + tensor.shape());
      }
    }
    return hasher.hash().toString();
  }

  private static void put(Hasher hasher, String text) {
    hasher.putInt(text.length()).putString(text, StandardCharsets.UTF_8);
  }

  /** Size, times, identity and the digest of both ends of a file. */
  private static String identity(Path file) throws IOException {
    BasicFileAttributes attributes = Files.readAttributes(file, BasicFileAttributes.class);
    // The time of the last change of any kind, which unlike the time of the last write nobody can set.
    Object changed = file.getFileSystem().supportedFileAttributeViews().contains("unix") ? Files.getAttribute(file, "unix:ctime") : "";
    return attributes.size() + " " + attributes.lastModifiedTime() + " " + changed + " " + attributes.fileKey() + " " + ends(file);
  }

  private static String ends(Path file) throws IOException {
    Hasher hasher = Hashing.sha256().newHasher();
    ByteBuffer end = ByteBuffer.allocate(END_BYTES);
    try (FileChannel channel = FileChannel.open(file)) {
      put(hasher, channel, 0, end);
      put(hasher, channel, Math.max(END_BYTES, channel.size() - END_BYTES), end);
    }
    return hasher.hash().toString();
  }

  private static void put(Hasher hasher, FileChannel channel, long from, ByteBuffer end) throws IOException {
    end.clear();
    long at = from;
    for (int read = channel.read(end, at); read > 0; read = channel.read(end, at)) {
      at += read;
    }
    hasher.putBytes(end.flip());
  }

  /** Why what {@code other} wrote is of no use to this, in words that follow "because"; empty if both write the same. */
  Optional<String> difference(Work other) {
    TreeSet<String> names = new TreeSet<>(facts.keySet());
    names.addAll(other.facts.keySet());
    for (String name : names) {
      String mine = facts.get(name);
      String theirs = other.facts.get(name);
      if (mine == null) {
        return Optional.of("it was also made from " + quoted(name));
      } else if (theirs == null) {
        return Optional.of("it was made without " + quoted(name));
      } else if (!mine.equals(theirs)) {
        return Optional.of(
            switch (name) {
              case "program" -> "another version of PortLLM or Java made it";
              case "options" -> "it was made with other options";
              case "output" -> "it was to have other files or tensors";
              default -> quoted(name) + " was changed since";
            });
      }
    }
    return Optional.empty();
  }

  private static String quoted(String input) {
    return Names.quote(input.startsWith(INPUT) ? input.substring(INPUT.length()) : input);
  }
}
