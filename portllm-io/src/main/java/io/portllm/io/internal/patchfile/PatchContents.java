package io.portllm.io.internal.patchfile;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.common.collect.ImmutableList;
import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.PatchBase;
import io.portllm.Shape;
import io.portllm.Shard;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.internal.buffer.DirectBuffers;
import io.portllm.internal.kernel.StoredDifference;
import io.portllm.internal.patch.DeltaTensors;
import io.portllm.internal.patch.Embeddings;
import io.portllm.internal.patch.QuantisedFactor;
import io.portllm.internal.patch.Stacks;
import io.portllm.internal.patch.Terms;
import io.portllm.internal.text.Names;
import io.portllm.io.WriteOptions;
import io.portllm.io.internal.adapter.AdapterChange;
import io.portllm.io.internal.adapter.AdapterConfig;
import io.portllm.portability.BaseSketch;
import io.portllm.io.internal.write.Parallel;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashSet;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.IntStream;

/** A patch as the tensors and metadata of its file; values are computed as they are read. */
public final class PatchContents implements ModelVersion {
  private static final int RUN_BYTES = 512 << 10;

  /** Where the bytes of a stored tensor come from. */
  private interface Source {
    void read(long offset, ByteBuffer destination) throws IOException;
  }

  private final Patch patch;
  private final PatchSurvey survey;
  private final ObjectMapper json = new ObjectMapper();
  private final ObjectNode deltas = json.createObjectNode();
  /** The adapters that changes are computed of, by their configuration's identity, and their numbers. */
  private final Map<AdapterConfig, Integer> adapters = new IdentityHashMap<>();
  private final ArrayNode adapterConfigs = json.createArrayNode();
  private final Map<String, TensorInfo> infos = new LinkedHashMap<>();
  private final Map<String, Source> sources = new LinkedHashMap<>();
  private final Map<String, String> digests = new ConcurrentHashMap<>();
  private final Set<String> haveDigests = new HashSet<>();
  private final DirectBuffers buffers = new DirectBuffers(RUN_BYTES);
  private final Optional<BaseSketch> sketch;
  private final boolean storesTokens;
  private final Shard shard;

  private PatchContents(Patch patch, PatchSurvey survey, WriteOptions options) throws IOException {
    this.patch = patch;
    this.survey = survey;
    patch.deltas().forEach(this::store);
    this.sketch = patch.base().flatMap(survey::sketch).filter(known -> options.sketches() && !known.tensors().isEmpty());
    sketch.ifPresent(known -> put(SketchCoding.info(known), SketchCoding.values(known)::read));
    this.storesTokens = storeTokens();
    Map<String, String> metadata = metadata();
    digestOthers(options);
    PatchSeal.put(metadata, infos.values(), digests);
    this.shard = new Shard("patch.safetensors", metadata, aligned(infos.values()));
  }

  /** The digests that the survey did not find: those of what is stored as it is read, which is mostly small. */
  private void digestOthers(WriteOptions options) throws IOException {
    List<Parallel.Task> tasks = new ArrayList<>();
    for (TensorInfo tensor : infos.values()) {
      if (!digests.containsKey(tensor.name()) && !haveDigests.contains(tensor.name())) {
        tasks.add(() -> digests.put(tensor.name(), CheckedTensors.digest(this, tensor)));
      }
    }
    Parallel.run(options, tasks);
  }

  /** What the file of {@code patch} holds. Reads everything that the patch is made of once, to find out what can be left out. */
  public static PatchContents of(Patch patch, WriteOptions options) throws IOException {
    return new PatchContents(patch, PatchSurvey.of(patch, options), options);
  }

  /** What the rows stand for, where some are changed: the new base's may stand for other tokens. */
  private boolean storeTokens() {
    boolean changesRows = ImmutableList.copyOf(deltas.fieldNames()).stream().anyMatch(Embeddings::isVocabulary);
    if (patch.isExact() || !changesRows || !patch.tokens().areKnown()) {
      return false;
    }
    byte[] table = TokenTable.encode(patch.tokens().tokens());
    put(
        new TensorInfo(PatchKeys.TOKENS, DType.U8, Shape.of(table.length)),
        (offset, target) -> target.put(table, Math.toIntExact(offset), target.remaining()));
    return true;
  }

  /** Bytes last: their tensors may be of any length, and after them wider elements would lie at odd places. */
  private static List<TensorInfo> aligned(Collection<TensorInfo> infos) {
    return infos.stream().sorted(Comparator.comparing(info -> info.dtype() == DType.U8)).collect(ImmutableList.toImmutableList());
  }

  private void store(String tensor, Delta delta) {
    ArrayNode terms = json.createArrayNode();
    if (delta instanceof Delta.Replacement replacement) {
      add(terms, PatchKeys.REPLACEMENT, 1);
      copy(PatchKeys.part(tensor, 0, "weight"), replacement.values());
    } else if (delta instanceof Delta.RowReplacement rows) {
      add(terms, PatchKeys.ROW_REPLACEMENT, 1);
      copy(PatchKeys.part(tensor, 0, "weight"), rows.values());
      indices(PatchKeys.part(tensor, 0, "indices"), rows.indices().toArray());
    } else if (delta instanceof Delta.Exact exact) {
      exact(tensor, exact, terms);
    } else if (delta.isAdditive()) {
      Terms.of(delta).forEach(term -> store(tensor, term, terms));
    }
    if (!terms.isEmpty()) {
      ObjectNode entry = deltas.putObject(tensor);
      withShape(entry, shapeOf(delta)).set("terms", terms);
    }
  }

  private void exact(String tensor, Delta.Exact delta, ArrayNode terms) {
    if (delta.change() instanceof EncodedChange stored) {
      ObjectNode term = add(terms, PatchKeys.EXACT, 1);
      stored.base().ifPresent(side -> term.set("base", describe(side.info(), side.digest())));
      stored.result().ifPresent(side -> term.set("result", describe(side.info(), side.digest())));
      if (stored.inverted()) {
        term.put("inverted", true);
      }
      ObjectNode payloads = term.putObject("payloads");
      stored.change().ifPresent(payload -> copy(tensor, "change", payload, payloads));
      stored.wholeBase().ifPresent(payload -> copy(tensor, "base", payload, payloads));
      stored.wholeResult().ifPresent(payload -> copy(tensor, "result", payload, payloads));
      return;
    }
    ExactPayloads found = survey.exact(tensor);
    if (found == null) {
      throw new IllegalStateException(
          "the exact change of tensor " + Names.quote(tensor) + " is of an unknown kind, which a patch file cannot hold");
    }
    if (found.isEmpty()) {
      return;
    }
    ObjectNode term = add(terms, PatchKeys.EXACT, 1);
    delta.change().before().ifPresent(info -> term.set("base", describe(info, found.digestBefore().orElseThrow())));
    delta.change().after().ifPresent(info -> term.set("result", describe(info, found.digestAfter().orElseThrow())));
    ObjectNode payloads = term.putObject("payloads");
    found.change().ifPresent(payload -> put(tensor, "change", payload, payloads));
    found.base().ifPresent(payload -> put(tensor, "base", payload, payloads));
    found.result().ifPresent(payload -> put(tensor, "result", payload, payloads));
  }

  private void copy(String tensor, String part, EncodedChange.Payload payload, ObjectNode named) {
    named.put(part, payload.digest());
    haveDigests.add(PatchKeys.part(tensor, 0, part));
    copy(PatchKeys.part(tensor, 0, part), payload.tensor());
  }

  private void put(String tensor, String part, ExactPayload payload, ObjectNode named) {
    named.put(part, payload.digest());
    haveDigests.add(PatchKeys.part(tensor, 0, part));
    put(new TensorInfo(PatchKeys.part(tensor, 0, part), DType.U8, Shape.of(payload.size())), payload::read);
  }

  private ArrayNode describe(TensorInfo tensor, String digest) {
    ArrayNode entry = json.createArrayNode().add(tensor.dtype().name());
    ArrayNode shape = entry.addArray();
    for (long dimension : tensor.shape().toArray()) {
      shape.add(dimension);
    }
    if (digest != null) {
      entry.add(digest);
    }
    return entry;
  }

  /** The shape of the widest term: terms for single rows may not know all rows. */
  static Shape shapeOf(Delta delta) {
    if (!delta.isAdditive()) {
      return delta.shape();
    }
    return Terms.of(delta).stream().map(term -> term.delta().shape()).reduce((a, b) -> a.rows() >= b.rows() ? a : b).orElseThrow();
  }

  private void store(String tensor, Delta.Term term, ArrayNode terms) {
    int number = terms.size();
    if (term.delta() instanceof Delta.Dense dense) {
      add(terms, PatchKeys.DENSE, term.factor());
      copy(PatchKeys.part(tensor, number, "delta"), dense.values());
    } else if (term.delta() instanceof Delta.Difference difference) {
      if (!survey.isZero(difference)) {
        add(terms, PatchKeys.DENSE, term.factor());
        String name = PatchKeys.part(tensor, number, "delta");
        DType type = survey.typeOf(difference);
        digests.put(name, survey.digestOf(difference));
        put(
            new TensorInfo(name, type, difference.shape()),
            (offset, target) ->
                subtract(difference.tuned(), offset / type.bytes(), difference.base(), offset / type.bytes(), type, target));
      }
    } else if (term.delta() instanceof Delta.LowRank product && isInFewBits(product)) {
      fewBits(tensor, number, product, add(terms, PatchKeys.QUANTISED_LOW_RANK, term.factor()));
    } else if (term.delta() instanceof Delta.LowRank product) {
      ObjectNode entry = add(terms, PatchKeys.LOW_RANK, term.factor());
      entry.put("scale", product.scale());
      entry.put("transposed", product.transposed());
      copy(PatchKeys.part(tensor, number, "lora_A"), product.a());
      copy(PatchKeys.part(tensor, number, "lora_B"), product.b());
    } else if (term.delta() instanceof Delta.Rows rows) {
      add(terms, PatchKeys.ROWS, term.factor());
      String name = PatchKeys.part(tensor, number, "delta");
      if (rows.base().isPresent()) {
        rowDifferences(name, rows, rows.base().get());
      } else {
        copy(name, rows.values());
      }
      indices(PatchKeys.part(tensor, number, "indices"), rows.indices().toArray());
    } else if (term.delta() instanceof Delta.Quantised quantised) {
      quantised(tensor, number, quantised, withShape(add(terms, PatchKeys.QUANTISED, term.factor()), quantised.shape()));
    } else if (term.delta() instanceof Delta.Sparse sparse) {
      sparse(tensor, number, sparse, withShape(add(terms, PatchKeys.SPARSE, term.factor()), sparse.shape()));
    } else if (term.delta() instanceof Delta.Computed computed) {
      computed(tensor, number, computed, terms, term.factor());
    }
  }

  /** Whether both factors are stored in few bits, alike, and nothing is lost by storing them so. */
  private static boolean isInFewBits(Delta.LowRank product) {
    Optional<Delta.Quantised> a = QuantisedFactor.storedRight(product.a());
    Optional<Delta.Quantised> b = QuantisedFactor.storedLeft(product.b());
    return !product.transposed()
        && a.isPresent()
        && b.isPresent()
        && a.get().bits() == b.get().bits()
        && a.get().group() == b.get().group();
  }

  private void fewBits(String tensor, int number, Delta.LowRank product, ObjectNode entry) {
    Delta.Quantised a = QuantisedFactor.storedRight(product.a()).orElseThrow();
    Delta.Quantised b = QuantisedFactor.storedLeft(product.b()).orElseThrow();
    entry.put("scale", product.scale()).put("rank", product.rank()).put("bits", a.bits()).put("group", a.group());
    copy(PatchKeys.part(tensor, number, "lora_A.codes"), a.codes());
    copy(PatchKeys.part(tensor, number, "lora_A.scales"), a.scales());
    copy(PatchKeys.part(tensor, number, "lora_B.codes"), b.codes());
    copy(PatchKeys.part(tensor, number, "lora_B.scales"), b.scales());
  }

  private void quantised(String tensor, int number, Delta.Quantised delta, ObjectNode entry) {
    entry.put("bits", delta.bits()).put("group", delta.group());
    copy(PatchKeys.part(tensor, number, "codes"), delta.codes());
    copy(PatchKeys.part(tensor, number, "scales"), delta.scales());
  }

  private void sparse(String tensor, int number, Delta.Sparse delta, ObjectNode entry) {
    entry.put("positions", delta.coding().name().toLowerCase(Locale.ROOT));
    copy(PatchKeys.part(tensor, number, "positions"), delta.positions());
    copy(PatchKeys.part(tensor, number, "offsets"), delta.offsets());
    if (delta.values() instanceof Delta.Quantised quantised) {
      quantised(tensor, number, quantised, entry);
    } else {
      copy(PatchKeys.part(tensor, number, "delta"), ((Delta.Dense) delta.values()).values());
    }
  }

  /** What is computed from itself alone, or on weights at hand, is stored as what comes out. */
  private void computed(String tensor, int number, Delta.Computed delta, ArrayNode terms, double factor) {
    if (delta.change().dependsOnWeights() && delta.frozenOn().isEmpty() && delta.change() instanceof AdapterChange change) {
      adapter(change, add(terms, PatchKeys.ADAPTER, factor));
      return;
    }
    if (delta.change().dependsOnWeights() && delta.frozenOn().isEmpty()) {
      throw new IllegalStateException(
          "the change of tensor " + Names.quote(tensor) + " is computed anew on each base's weights by something that is no adapter, "
              + "which a patch file cannot hold; freeze it on its base");
    }
    Optional<List<Delta.LowRank>> products = Stacks.stack(delta).map(PatchContents::productsOf).filter(PatchContents::areAlike);
    if (products.isPresent()) {
      stack(tensor, number, products.get(), add(terms, PatchKeys.LOW_RANK_STACK, factor));
      return;
    }
    add(terms, PatchKeys.DENSE, factor);
    String name = PatchKeys.part(tensor, number, "delta");
    long columns = delta.change().rowLength();
    long allRows = columns == 0 ? 0 : delta.shape().elements() / columns;
    put(
        new TensorInfo(name, DType.F32, delta.shape()),
        (offset, target) -> {
          long first = offset / 4;
          while (target.hasRemaining()) {
            long row = first / columns;
            int skip = (int) (first % columns);
            long rows = Math.max(1, Math.min(allRows - row, RUN_BYTES / 4 / columns));
            float[] values = new float[Math.toIntExact(rows * columns)];
            delta.change().compute(row, row + rows, delta.frozenOn().orElse(null), values);
            int count = Math.min(values.length - skip, target.remaining() / 4);
            target.slice(target.position(), 4 * count).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().put(values, skip, count);
            target.position(target.position() + 4 * count);
            first += count;
          }
        });
  }

  private static List<Delta.LowRank> productsOf(Stacks.OfProducts stack) {
    return IntStream.range(0, Stacks.count(stack.shape())).mapToObj(stack::product).toList();
  }

  /** Whether products differ in nothing but their rank and their numbers, and so can be stored as one. */
  private static boolean areAlike(List<Delta.LowRank> products) {
    return products.stream()
            .map(product -> List.of(product.scale(), product.transposed(), product.a().info().dtype(), product.b().info().dtype()))
            .distinct()
            .count()
        == 1;
  }

  /** The factors of all matrices one after the other, A's rows in one matrix, B's numbers in one list. */
  private void stack(String tensor, int number, List<Delta.LowRank> products, ObjectNode entry) {
    Delta.LowRank first = products.get(0);
    entry.put("scale", first.scale()).put("transposed", first.transposed());
    ArrayNode ranks = entry.putArray("ranks");
    products.forEach(product -> ranks.add(product.rank()));
    Tensor a = JoinedTensors.of("lora_A", products.stream().map(Delta.LowRank::a).toList());
    Tensor b = JoinedTensors.of("lora_B", products.stream().map(Delta.LowRank::b).toList());
    long columns = first.a().info().shape().columns();
    Shape rows = Shape.of(a.info().elements() / columns, columns);
    put(new TensorInfo(PatchKeys.part(tensor, number, "lora_A"), a.info().dtype(), rows), a::read);
    put(new TensorInfo(PatchKeys.part(tensor, number, "lora_B"), b.info().dtype(), b.info().shape()), b::read);
  }

  /** What the change is computed of, each module of each adapter once. */
  private void adapter(AdapterChange change, ObjectNode entry) {
    if (adapters.putIfAbsent(change.config(), adapters.size()) == null) {
      adapterConfigs.add(change.config().ofChanges());
    }
    int number = adapters.get(change.config());
    withDimensions(entry.put("adapter", number).put("module", change.module()).putArray("weight"), change.weight());
    ArrayNode parts = entry.putArray("parts");
    change.parts().forEach((part, stored) -> parts.add(part));
    change.parts().forEach((part, stored) -> copy(PatchKeys.adapterPart(number, change.module(), part), stored));
  }

  private static ObjectNode add(ArrayNode terms, String kind, double factor) {
    return terms.addObject().put("kind", kind).put("factor", factor);
  }

  private static ObjectNode withShape(ObjectNode entry, Shape shape) {
    withDimensions(entry.putArray("shape"), shape);
    return entry;
  }

  private static void withDimensions(ArrayNode dimensions, Shape shape) {
    for (long dimension : shape.toArray()) {
      dimensions.add(dimension);
    }
  }

  private void copy(String name, Tensor tensor) {
    put(new TensorInfo(name, tensor.info().dtype(), tensor.info().shape()), tensor::read);
  }

  private void indices(String name, long[] values) {
    put(
        new TensorInfo(name, DType.I64, Shape.of(values.length)),
        (offset, target) -> {
          ByteBuffer bytes = ByteBuffer.allocate(8 * values.length).order(ByteOrder.LITTLE_ENDIAN);
          for (long value : values) {
            bytes.putLong(value);
          }
          target.put(bytes.slice((int) offset, target.remaining()));
        });
  }

  /** Rows lie apart in the base, so each is subtracted on its own. */
  private void rowDifferences(String name, Delta.Rows rows, Tensor base) {
    long columns = rows.shape().columns();
    DType type = PatchSurvey.isWide(rows.values()) || PatchSurvey.isWide(base) ? DType.F64 : DType.F32;
    put(
        new TensorInfo(name, type, rows.values().info().shape()),
        (offset, target) -> {
          long at = offset / type.bytes();
          while (target.hasRemaining()) {
            long row = at / columns;
            long column = at % columns;
            int count = (int) Math.min(columns - column, target.remaining() / type.bytes());
            ByteBuffer part = target.slice(target.position(), count * type.bytes());
            subtract(rows.values(), at, base, rows.indices().get((int) row) * columns + column, type, part);
            target.position(target.position() + count * type.bytes());
            at += count;
          }
        });
  }

  private void put(TensorInfo info, Source source) {
    infos.put(info.name(), info);
    sources.put(info.name(), source);
  }

  /** Fills {@code target} with {@code tuned − base} from these elements on. */
  private void subtract(Tensor tuned, long inTuned, Tensor base, long inBase, DType type, ByteBuffer target) throws IOException {
    int tunedSize = tuned.info().dtype().bytes();
    int baseSize = base.info().dtype().bytes();
    int step = RUN_BYTES / Math.max(tunedSize, baseSize);
    ByteBuffer mine = buffers.lend(0);
    ByteBuffer theirs = buffers.lend(0);
    try {
      long done = 0;
      while (target.hasRemaining()) {
        int count = Math.min(step, target.remaining() / type.bytes());
        tuned.read((inTuned + done) * tunedSize, mine.clear().limit(count * tunedSize));
        base.read((inBase + done) * baseSize, theirs.clear().limit(count * baseSize));
        ByteBuffer run = target.slice(target.position(), count * type.bytes()).order(ByteOrder.LITTLE_ENDIAN);
        StoredDifference.write(tuned.info().dtype(), mine.flip(), base.info().dtype(), theirs.flip(), type, run, count);
        target.position(target.position() + count * type.bytes());
        done += count;
      }
    } finally {
      buffers.takeBack(mine);
      buffers.takeBack(theirs);
    }
  }

  private Map<String, String> metadata() throws IOException {
    Map<String, String> metadata = new TreeMap<>();
    metadata.put(PatchKeys.FORMAT, PatchKeys.FORMAT_VALUE);
    metadata.put(PatchKeys.VERSION, PatchKeys.VERSION_VALUE);
    metadata.put(PatchKeys.RECIPE, patch.recipe());
    metadata.put(PatchKeys.DELTAS, json.writeValueAsString(deltas));
    if (!adapterConfigs.isEmpty()) {
      metadata.put(PatchKeys.ADAPTERS, json.writeValueAsString(adapterConfigs));
    }
    if (storesTokens) {
      metadata.put(PatchKeys.FIRST_ADDED, Integer.toString(patch.tokens().firstAdded()));
      metadata.put(PatchKeys.ADDED, json.writeValueAsString(TokenTable.added(patch.tokens())));
    }
    if (patch.base().isPresent()) {
      PatchBase base = survey.fingerprint().map(print -> patch.base().get().with(print)).orElse(patch.base().get());
      metadata.put(PatchKeys.BASE_NAME, base.name());
      metadata.put(PatchKeys.BASE_TYING, base.tying().name());
      base.fingerprint().ifPresent(fingerprint -> metadata.put(PatchKeys.BASE_FINGERPRINT, fingerprint));
      metadata.put(PatchKeys.BASE_TENSORS, json.writeValueAsString(tensorsOf(base)));
      if (sketch.isPresent()) {
        metadata.put(PatchKeys.BASE_CONFIG, json.writeValueAsString(sketch.get().config()));
        metadata.put(PatchKeys.BASE_SKETCHES, json.writeValueAsString(SketchCoding.contents(sketch.get())));
      }
    }
    return metadata;
  }

  private ObjectNode tensorsOf(PatchBase base) {
    Map<String, TensorInfo> sorted = new TreeMap<>();
    base.tensors().forEach(tensor -> sorted.put(tensor.name(), tensor));
    ObjectNode tensors = json.createObjectNode();
    sorted.forEach((name, tensor) -> tensors.set(name, describe(tensor, base.digests().get(name))));
    return tensors;
  }

  @Override
  public String name() {
    return patch.recipe();
  }

  @Override
  public List<Shard> shards() {
    return List.of(shard);
  }

  @Override
  public List<TensorInfo> tensors() {
    return shard.tensors();
  }

  @Override
  public Optional<TensorInfo> find(String name) {
    return Optional.ofNullable(infos.get(name));
  }

  @Override
  public void read(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException {
    sources.get(tensor.name()).read(offset, destination);
  }

  @Override
  public void verifyUnchanged() throws IOException {
    Set<ModelVersion> inputs = Collections.newSetFromMap(new IdentityHashMap<>());
    // The base was read for its fingerprint, even where no change needs its weights.
    patch.base().flatMap(PatchBase::model).ifPresent(inputs::add);
    List<Delta> all = new ArrayList<>(patch.deltas().values());
    all.forEach(delta -> DeltaTensors.of(delta).forEach(tensor -> inputs.add(tensor.version())));
    for (ModelVersion input : inputs) {
      input.verifyUnchanged();
    }
  }

  @Override
  public void close() {}
}
