package io.portllm.internal.patch;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import io.portllm.AddedToken;
import io.portllm.Allow;
import io.portllm.IncompatibleModelException;
import io.portllm.Mismatch;
import io.portllm.ModelVersion;
import io.portllm.Rounding;
import io.portllm.Shard;
import io.portllm.SideFile;
import io.portllm.TensorInfo;
import io.portllm.Vocabulary;
import io.portllm.internal.text.Names;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/** A model whose embeddings and heads have rows of negative zeros for some tokens, appended where it lacks the tokens. */
public final class GrownModel implements DerivedModel {
  private final ModelVersion model;
  private final Vocabulary vocabulary;
  private final List<AddedToken> tokens;
  private final List<SideFile> sideFiles;
  private final Map<String, String> config;
  private final Set<Integer> cleared = new HashSet<>();
  private final Map<String, TensorInfo> tensors = new LinkedHashMap<>();
  private final Map<String, TensorInfo> grown = new HashMap<>();
  private final List<Shard> shards;

  private GrownModel(
      ModelVersion model, Vocabulary vocabulary, List<AddedToken> tokens, List<SideFile> sideFiles, Map<String, String> config) {
    this.model = model;
    this.vocabulary = vocabulary;
    this.tokens = ImmutableList.copyOf(tokens);
    this.sideFiles = ImmutableList.copyOf(sideFiles);
    this.config = ImmutableMap.copyOf(config);
    tokens.forEach(token -> cleared.add(vocabulary.row(token.content()).orElseThrow()));
    ImmutableList.Builder<Shard> files = ImmutableList.builder();
    for (Shard shard : model.shards()) {
      ImmutableList.Builder<TensorInfo> infos = ImmutableList.builder();
      for (TensorInfo tensor : shard.tensors()) {
        TensorInfo info = tensor;
        if (Embeddings.isVocabulary(tensor.name())) {
          long rows = Math.max(tensor.shape().rows(), vocabulary.end());
          info = new TensorInfo(tensor.name(), tensor.dtype(), tensor.shape().withRows(rows));
          grown.put(tensor.name(), tensor);
        }
        infos.add(info);
        tensors.put(info.name(), info);
      }
      files.add(new Shard(shard.fileName(), shard.metadata(), infos.build()));
    }
    this.shards = files.build();
  }

  /**
   * {@code model} with room for {@code tokens}.
   *
   * @param vocabulary that of {@code model} with those of {@code tokens} that it lacks after its last one
   * @param sideFiles the side files with these tokens
   * @param config the configuration with the new number of rows
   * @throws IncompatibleModelException if an embedding or head cannot be given rows, or another tensor seems to need them too
   */
  public static GrownModel of(
      ModelVersion model, Vocabulary vocabulary, List<AddedToken> tokens, List<SideFile> sideFiles, Map<String, String> config) {
    int end = vocabulary.end();
    for (TensorInfo tensor : model.tensors()) {
      boolean rowsAreTokens = Embeddings.isVocabulary(tensor.name());
      if (rowsAreTokens && (!tensor.dtype().isArithmetic() || tensor.shape().rank() == 0)) {
        throw new IncompatibleModelException(
            what(model),
            List.of(Mismatch.of(tensor.name(), "is " + tensor.dtype() + " " + tensor.shape() + ", which cannot be given rows")));
      }
      if (!rowsAreTokens && end > rows(model) && hasRowsOfTokens(tensor, rows(model))) {
        throw new IncompatibleModelException(
            what(model),
            List.of(
                Mismatch.of(
                    tensor.name(),
                    "is " + tensor.shape() + ", as many as the embedding has rows, but is not known to hold a row for each token",
                    Allow.OTHER_VOCABULARY)));
      }
    }
    return new GrownModel(model, vocabulary, tokens, sideFiles, config);
  }

  private static boolean hasRowsOfTokens(TensorInfo tensor, long rows) {
    return tensor.shape().rank() > 0 && (tensor.shape().rows() == rows || tensor.shape().rows() == 1 && tensor.shape().columns() == rows);
  }

  /** How many rows embedding and head of {@code model} have. */
  public static long rows(ModelVersion model) {
    return PatchTokens.rows(model.tensors());
  }

  /**
   * The vocabulary of {@code model} with those of {@code tokens} that it lacks after its last one.
   *
   * @throws java.io.UncheckedIOException if the vocabulary could not be read
   */
  public static Vocabulary vocabulary(ModelVersion model, List<AddedToken> tokens) {
    Vocabulary old = PatchTokens.of(model);
    Vocabulary.Builder builder = Vocabulary.builder().addAll(old);
    int end = old.end();
    for (AddedToken token : tokens) {
      if (old.row(token.content()).isEmpty()) {
        builder.add(end++, token);
      }
    }
    return builder.build();
  }

  /** Why {@code model} cannot be given more tokens. */
  public static IncompatibleModelException refusal(ModelVersion model, String why) {
    String tensor = model.tensors().stream().map(TensorInfo::name).filter(Embeddings::isVocabulary).findFirst().orElse("");
    return new IncompatibleModelException(what(model), List.of(Mismatch.of(tensor, why, Allow.OTHER_VOCABULARY)));
  }

  private static String what(ModelVersion model) {
    return Names.quote(model.name()) + " cannot be given more tokens";
  }

  @Override
  public ModelVersion newBase() {
    return model;
  }

  @Override
  public Set<ModelVersion> inputs() {
    return Set.of(model);
  }

  @Override
  public boolean changes(String tensor) {
    return grown.containsKey(tensor);
  }

  @Override
  public Rounding readCounting(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException {
    read(tensor, offset, destination);
    return Rounding.NONE;
  }

  @Override
  public void read(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException {
    TensorInfo old = grown.get(tensor.name());
    if (old == null) {
      model.read(tensor, offset, destination);
      return;
    }
    if (!tensor.equals(tensors.get(tensor.name())) || offset < 0 || destination.remaining() > tensor.bytes() - offset) {
      throw new IllegalArgumentException(
          destination.remaining() + " bytes from byte " + offset + " do not lie within tensor " + Names.quote(tensor.name()));
    }
    int start = destination.position();
    int inOld = (int) Math.max(0, Math.min(destination.remaining(), old.bytes() - offset));
    if (inOld > 0) {
      model.read(old, offset, destination.slice(start, inOld));
    }
    int size = tensor.dtype().bytes();
    Zeros.put(destination.slice(start + inOld, destination.remaining() - inOld), size, true);
    long rowBytes = tensor.shape().columns() * size;
    for (int row : cleared) {
      long from = Math.max(offset, row * rowBytes);
      long to = Math.min(offset + destination.remaining(), (row + 1) * rowBytes);
      if (from < to) {
        Zeros.put(destination.slice(start + (int) (from - offset), (int) (to - from)), size, true);
      }
    }
    destination.position(destination.limit());
  }

  @Override
  public String name() {
    return model.name();
  }

  @Override
  public List<Shard> shards() {
    return shards;
  }

  @Override
  public List<TensorInfo> tensors() {
    return ImmutableList.copyOf(tensors.values());
  }

  @Override
  public Optional<TensorInfo> find(String name) {
    return Optional.ofNullable(tensors.get(name));
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
  public Vocabulary vocabulary() {
    return vocabulary;
  }

  @Override
  public ModelVersion withTokens(List<AddedToken> more) throws IOException {
    List<AddedToken> all = ImmutableList.<AddedToken>builder().addAll(tokens).addAll(more).build();
    return model.withTokens(all);
  }

  @Override
  public void verifyUnchanged() throws IOException {
    model.verifyUnchanged();
  }

  @Override
  public void close() {}
}
