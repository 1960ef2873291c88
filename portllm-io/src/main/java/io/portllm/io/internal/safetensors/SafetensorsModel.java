package io.portllm.io.internal.safetensors;

import com.google.common.collect.ImmutableList;
import io.portllm.AddedToken;
import io.portllm.ModelVersion;
import io.portllm.Shard;
import io.portllm.SideFile;
import io.portllm.TensorInfo;
import io.portllm.Vocabulary;
import io.portllm.internal.text.Names;
import io.portllm.io.MalformedModelException;
import io.portllm.io.internal.files.ModelFolder;
import io.portllm.io.internal.files.Paths;
import io.portllm.io.internal.files.SourceFile;
import io.portllm.io.internal.files.SourceFiles;
import io.portllm.io.internal.files.StoredModel;
import io.portllm.io.internal.files.StoredTensors;
import io.portllm.io.internal.files.WeightFiles;
import io.portllm.io.internal.json.FlatJson;
import io.portllm.io.internal.json.JsonException;
import io.portllm.io.internal.tokenizer.GrownFiles;
import io.portllm.io.internal.tokenizer.TokenizerFiles;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * A model of one safetensors file, or of a folder as Hugging Face writes it. Immutable; holds at most
 * {@link SourceFiles#MOST_HANDLES} file handles.
 *
 * <p>In a folder, {@code model.safetensors} is read if it is there, as transformers does, whatever an index beside it says;
 * otherwise the shards of {@code model.safetensors.index.json}, in the order of their names; otherwise the one
 * {@code .safetensors} file.
 */
public final class SafetensorsModel implements StoredModel {
  private static final String SINGLE_FILE = "model.safetensors";
  private static final String ADAPTER_FILE = "adapter_model.safetensors";
  private static final String CONFIG = "config.json";

  private static final System.Logger LOG = System.getLogger(SafetensorsModel.class.getName());

  /** The longest {@code config.json}: 16 MiB; those with 20,000 class names have 2. */
  private static final int LONGEST_CONFIG = 16 << 20;

  private final Path path;
  private final SourceFiles files;
  private final List<SourceFile> weights = new ArrayList<>();
  private final StoredTensors places;
  private List<Shard> shards = new ArrayList<>();
  private List<TensorInfo> tensors = List.of();
  private Map<String, String> config = Map.of();
  private Map<String, Object> indexMetadata = Map.of();
  private boolean indexed;
  private List<SideFile> sideFiles = List.of();
  private volatile Vocabulary vocabulary;
  private volatile boolean closed;

  private SafetensorsModel(Path path) {
    this.path = path;
    this.files = new SourceFiles();
    this.places = new StoredTensors(path);
  }

  /**
   * Opens one file. The model has no configuration and no side files.
   *
   * @throws MalformedModelException if the file breaks a rule of the format
   * @throws IOException if reading failed
   */
  public static SafetensorsModel openFile(Path file) throws IOException {
    return open(file, model -> model.addShard(file.getFileName().toString(), file));
  }

  /**
   * Opens a folder.
   *
   * @throws MalformedModelException if the folder holds no model, or a file breaks a rule of its format
   * @throws IOException if reading failed
   */
  public static SafetensorsModel openFolder(Path folder) throws IOException {
    return open(folder, model -> model.readFolder(new ModelFolder(folder)));
  }

  private interface Reader {
    void readInto(SafetensorsModel model) throws IOException;
  }

  private static SafetensorsModel open(Path path, Reader reader) throws IOException {
    SafetensorsModel model = new SafetensorsModel(path);
    try {
      reader.readInto(model);
      model.shards = ImmutableList.copyOf(model.shards);
      model.tensors = model.shards.stream().flatMap(shard -> shard.tensors().stream()).collect(ImmutableList.toImmutableList());
      ConfigCheck.disagreement(model.config, model.tensors)
          .ifPresent(text -> LOG.log(System.Logger.Level.WARNING, Paths.prefix(path) + text));
      return model;
    } catch (Throwable e) {
      try {
        model.close();
      } catch (IOException atClose) {
        e.addSuppressed(atClose);
      }
      throw e;
    }
  }

  private void readFolder(ModelFolder folder) throws IOException {
    if (folder.has(SINGLE_FILE)) {
      addShard(SINGLE_FILE, folder.file(SINGLE_FILE));
    } else if (folder.has(ShardIndex.FILE_NAME)) {
      readIndex(folder);
    } else {
      String only = onlyFile(folder);
      addShard(only, folder.file(only));
    }
    config = readConfig(folder);
    sideFiles = ImmutableList.copyOf(folder.sideFiles());
  }

  private static String onlyFile(ModelFolder folder) throws IOException {
    List<String> found = folder.namesEndingWith(WeightFiles.SAFETENSORS);
    if (found.size() == 1 && !found.contains(ADAPTER_FILE)) {
      return found.get(0);
    }
    String but;
    if (found.contains(ADAPTER_FILE)) {
      but = "the folder holds a PEFT adapter";
    } else if (!found.isEmpty()) {
      but = "the folder holds " + found.size() + " .safetensors files, " + Names.quote(found.get(0)) + " the first of them, and no index";
    } else if (!folder.namesEndingWith(".bin").isEmpty()) {
      but = "the folder holds .bin files (pickle), which are not read";
    } else {
      but = "the folder holds no .safetensors file";
    }
    throw new MalformedModelException(
        folder.path(),
        "IX-NONE",
        -1,
        "expected " + SINGLE_FILE + ", " + ShardIndex.FILE_NAME + " or a single .safetensors file, but " + but);
  }

  private void readIndex(ModelFolder folder) throws IOException {
    SourceFile indexFile = files.open(folder.file(ShardIndex.FILE_NAME));
    weights.add(indexFile);
    ShardIndex index = ShardIndex.read(indexFile);
    indexMetadata = index.metadata();
    indexed = true;
    for (String name : new TreeSet<>(index.weightMap().values())) {
      Path file = folder.file(name);
      try {
        addShard(name, file);
      } catch (MalformedModelException e) {
        throw e.rule().startsWith("ST-") ? brokenShard(file, e) : e;
      }
    }
    IndexCheck.check(indexFile.path(), index.weightMap(), shards);
  }

  private static MalformedModelException brokenShard(Path file, MalformedModelException cause) {
    String message = cause.getMessage();
    MalformedModelException refusal =
        new MalformedModelException(
            file,
            "IX-FILE",
            cause.offset(),
            "the index lists this file, which is no whole safetensors file: " + message.substring(message.indexOf("] ") + 2));
    refusal.initCause(cause);
    return refusal;
  }

  private void addShard(String name, Path path) throws IOException {
    SourceFile file = files.open(path);
    weights.add(file);
    SafetensorsHeader header = SafetensorsHeader.read(file);
    shards.add(new Shard(name, header.metadata(), header.tensors()));
    for (TensorInfo tensor : header.tensors()) {
      Optional<Path> first = places.add(tensor, file, header.offsetOf(tensor.name()));
      if (first.isPresent()) {
        throw new MalformedModelException(
            path,
            "IX-TENSOR",
            -1,
            "tensor " + Names.quote(tensor.name()) + " is in this file and in " + Names.quote(first.get().getFileName().toString()));
      }
    }
  }

  private static Map<String, String> readConfig(ModelFolder folder) throws IOException {
    if (!folder.has(CONFIG)) {
      return Map.of();
    }
    Path path = folder.file(CONFIG);
    try (SourceFile file = SourceFile.open(path)) {
      if (file.size() > LONGEST_CONFIG) {
        throw new MalformedModelException(
            path, "CF-JSON", -1, "a configuration must be at most " + LONGEST_CONFIG + " bytes but has " + file.size());
      }
      byte[] text = new byte[(int) file.size()];
      file.readFully(0, ByteBuffer.wrap(text));
      return FlatJson.read(text);
    } catch (JsonException e) {
      throw new MalformedModelException(path, "CF-JSON", e.offset(), "the configuration is " + e.getMessage());
    }
  }

  @Override
  public Path path() {
    return path;
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
  public Map<String, String> config() {
    return config;
  }

  @Override
  public List<SideFile> sideFiles() {
    return sideFiles;
  }

  @Override
  public Vocabulary vocabulary() throws IOException {
    if (vocabulary == null) {
      vocabulary = TokenizerFiles.vocabulary(path, sideFiles);
    }
    return vocabulary;
  }

  @Override
  public ModelVersion withTokens(List<AddedToken> tokens) throws IOException {
    return GrownFiles.of(this, path, tokens);
  }

  /** Whether the model was opened by its index. */
  public boolean isIndexed() {
    return indexed;
  }

  /** What the index says besides its map, {@code total_size} included; empty for a model without one. */
  public Map<String, Object> indexMetadata() {
    return indexMetadata;
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
  public void verifyUnchanged() throws IOException {
    for (SourceFile file : weights) {
      file.verifyUnchanged();
    }
  }

  @Override
  public void close() throws IOException {
    closed = true;
    files.close();
  }

  @Override
  public String toString() {
    return "SafetensorsModel[" + path + ", " + tensors.size() + " tensors]";
  }
}
