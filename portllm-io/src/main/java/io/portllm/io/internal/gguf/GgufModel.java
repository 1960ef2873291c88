package io.portllm.io.internal.gguf;

import com.google.common.collect.ImmutableList;
import io.portllm.MergeOptions;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.Shard;
import io.portllm.TensorInfo;
import io.portllm.Vocabulary;
import io.portllm.internal.text.Names;
import io.portllm.io.MalformedModelException;
import io.portllm.io.internal.files.ModelFolder;
import io.portllm.io.internal.files.SourceFile;
import io.portllm.io.internal.files.SourceFiles;
import io.portllm.io.internal.files.StoredModel;
import io.portllm.io.internal.files.StoredTensors;
import io.portllm.io.internal.files.WeightFiles;
import io.portllm.io.internal.gguf.layout.GgufHyperparameters;
import io.portllm.io.internal.gguf.lens.GgufLens;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * A model of one GGUF file, or of a set of split ones. Immutable; holds at most {@link SourceFiles#MOST_HANDLES} file handles.
 *
 * <p>Tensors have the names of the files and torch's shapes, outermost dimension first. Those of
 * {@link io.portllm.DType#isQuantised quantised} types are read as blocks, from any byte on. The model has no configuration and no side
 * files: what others keep in them is in the {@link #metadata}.
 */
public final class GgufModel implements StoredModel {
  /** The ending of file names. */
  public static final String ENDING = ".gguf";

  private static final byte[] MAGIC = "GGUF".getBytes(StandardCharsets.US_ASCII);

  /**
   * One file of the model.
   *
   * @param file the file, open as long as the model is
   * @param header what stands before its weights
   */
  public record Part(SourceFile file, GgufHeader header) {}

  private final Path path;
  private final SourceFiles files;
  private final StoredTensors places;
  private final List<Part> parts;
  private final List<Shard> shards;
  private final List<TensorInfo> tensors;
  private volatile Vocabulary vocabulary;
  private volatile boolean closed;

  private GgufModel(Path path, SourceFiles files, List<Part> parts) throws MalformedModelException {
    this.path = path;
    this.files = files;
    this.parts = ImmutableList.copyOf(parts);
    this.places = new StoredTensors(path);
    ImmutableList.Builder<Shard> all = ImmutableList.builder();
    for (Part part : parts) {
      addTensors(part);
      String name = part.file.path().getFileName().toString();
      all.add(new Shard(name.endsWith(ENDING) ? name : name + ENDING, Map.of(), part.header.tensors()));
    }
    this.shards = all.build();
    this.tensors = shards.stream().flatMap(shard -> shard.tensors().stream()).collect(ImmutableList.toImmutableList());
  }

  private void addTensors(Part part) throws MalformedModelException {
    List<TensorInfo> infos = part.header.tensors();
    for (int i = 0; i < infos.size(); i++) {
      Optional<Path> first = places.add(infos.get(i), part.file, part.header.offsets().get(i));
      if (first.isPresent()) {
        throw new MalformedModelException(
            part.file.path(),
            "GG-SPLIT-DUP",
            -1,
            "tensor " + Names.quote(infos.get(i).name()) + " is in this file and in " + Names.quote(first.get().getFileName().toString()));
      }
    }
  }

  /** Whether a file is to be read as GGUF: by its name, or by its first bytes if the name says nothing. */
  public static boolean is(Path file) throws IOException {
    String name = String.valueOf(file.getFileName());
    if (name.endsWith(ENDING) || name.endsWith(WeightFiles.SAFETENSORS)) {
      return name.endsWith(ENDING);
    }
    try (SourceFile source = SourceFile.open(file)) {
      ByteBuffer start = ByteBuffer.allocate((int) Math.min(MAGIC.length, source.size()));
      source.readFully(0, start);
      return Arrays.equals(start.array(), MAGIC);
    }
  }

  /** Whether a file of this name is one of several. */
  public static boolean isPartName(String fileName) {
    return SplitName.of(fileName).filter(split -> split.count() > 1).isPresent();
  }

  /** Whether a folder holds GGUF files and no safetensors ones. */
  public static boolean isIn(Path folder) throws IOException {
    ModelFolder files = new ModelFolder(folder);
    return !files.namesEndingWith(ENDING).isEmpty()
        && files.namesEndingWith(WeightFiles.SAFETENSORS).isEmpty()
        && files.namesEndingWith(WeightFiles.SAFETENSORS + ".index.json").isEmpty();
  }

  /**
   * Opens a file, with the others of its set if it is one of a split model's.
   *
   * @throws MalformedModelException if a file breaks a rule of the format, or the set one of split models
   * @throws IOException if reading failed
   */
  public static GgufModel openFile(Path file) throws IOException {
    return open(file, file);
  }

  /**
   * Opens the one model of a folder.
   *
   * @throws MalformedModelException if the folder holds none or several, or a file breaks a rule of the format
   * @throws IOException if reading failed
   */
  public static GgufModel openFolder(Path folder) throws IOException {
    ModelFolder files = new ModelFolder(folder);
    TreeMap<String, String> firstByModel = new TreeMap<>();
    for (String name : files.namesEndingWith(ENDING)) {
      firstByModel.putIfAbsent(SplitName.of(name).map(split -> split.file(1)).orElse(name), name);
    }
    if (firstByModel.size() != 1) {
      throw new MalformedModelException(
          folder,
          "IX-NONE",
          -1,
          "expected one model, but the folder holds " + firstByModel.size() + " GGUF models, " + Names.quote(firstByModel.firstKey())
              + " the first of them; name a file");
    }
    return open(folder, files.file(firstByModel.firstEntry().getValue()));
  }

  private static GgufModel open(Path path, Path file) throws IOException {
    SourceFiles files = new SourceFiles();
    try {
      return new GgufModel(path, files, new PartsReader(files).read(file));
    } catch (Throwable e) {
      try {
        files.close();
      } catch (IOException atClose) {
        e.addSuppressed(atClose);
      }
      throw e;
    }
  }

  @Override
  public Path path() {
    return path;
  }

  /** The files, in the order of their numbers. */
  public List<Part> parts() {
    return parts;
  }

  /** The metadata: that of the first file, which alone has more than the numbers of the split. */
  public GgufMetadata metadata() {
    return parts.get(0).header.metadata();
  }

  @Override
  public String name() {
    return path.toString();
  }

  @Override
  public List<Shard> shards() {
    return shards;
  }

  @Override
  public List<TensorInfo> tensors() {
    return tensors;
  }

  @Override
  public Optional<TensorInfo> find(String name) {
    return places.find(name);
  }

  @Override
  public void read(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException {
    if (closed) {
      throw new IllegalStateException(path + " was closed");
    }
    places.read(tensor, offset, destination);
  }

  @Override
  public IOException malformed(TensorInfo tensor, String rule, String message) {
    return places.malformed(tensor, rule, message);
  }

  @Override
  public Vocabulary vocabulary() throws IOException {
    if (vocabulary == null) {
      vocabulary = GgufTokens.of(metadata());
    }
    return vocabulary;
  }

  @Override
  public ModelVersion decoded() {
    return lens().decoded();
  }

  @Override
  public ModelVersion patched(Patch patch, MergeOptions options) {
    return lens().patched(patch, options);
  }

  /** The way to the Hugging Face checkpoint that this model was converted from. */
  public GgufLens lens() {
    try {
      return new GgufLens(this, GgufHyperparameters.of(metadata()));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Override
  public void verifyUnchanged() throws IOException {
    for (Part part : parts) {
      part.file.verifyUnchanged();
    }
  }

  @Override
  public void close() throws IOException {
    closed = true;
    files.close();
  }

  @Override
  public String toString() {
    return "GgufModel[" + path + ", " + tensors.size() + " tensors]";
  }
}
