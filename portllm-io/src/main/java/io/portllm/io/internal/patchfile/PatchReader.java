package io.portllm.io.internal.patchfile;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.google.common.primitives.ImmutableLongArray;
import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.Patch;
import io.portllm.PatchBase;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.TokenRows;
import io.portllm.Tying;
import io.portllm.internal.patch.QuantisedFactor;
import io.portllm.internal.patch.StackedFactors;
import io.portllm.internal.patch.Stacks;
import io.portllm.internal.text.Names;
import io.portllm.io.MalformedModelException;
import io.portllm.io.internal.exact.BlockDecoder;
import io.portllm.io.internal.files.StoredModel;
import io.portllm.io.internal.safetensors.SafetensorsModel;
import io.portllm.portability.BaseSketch;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.stream.Collectors;

/** Makes a patch of the metadata and tensors of a patch file. */
public final class PatchReader {
  private final Path file;
  private StoredModel tensors;
  private final Map<String, String> metadata;
  private final Set<String> used = new HashSet<>();
  private AdapterTerms adapters;
  private final ConcurrentLinkedQueue<BlockDecoder> decoders = new ConcurrentLinkedQueue<>();

  private PatchReader(Path file, SafetensorsModel tensors) {
    this.file = file;
    this.tensors = tensors;
    this.metadata = tensors.shards().get(0).metadata();
  }

  /** The patch that {@code tensors}, the content of {@code file}, stand for. Reads headers, row numbers and sketches only. */
  public static Patch read(Path file, SafetensorsModel tensors) throws IOException {
    return new PatchReader(file, tensors).read();
  }

  /** Whether the file says that it is a patch. */
  public static boolean isPatch(SafetensorsModel tensors) {
    return tensors.shards().size() == 1 && PatchKeys.FORMAT_VALUE.equals(tensors.shards().get(0).metadata().get(PatchKeys.FORMAT));
  }

  private Patch read() throws IOException {
    if (!PatchKeys.FORMAT_VALUE.equals(metadata.get(PatchKeys.FORMAT))) {
      throw malformed("PF-FORMAT", "is no patch: its metadata lacks " + PatchKeys.FORMAT + " = " + PatchKeys.FORMAT_VALUE);
    }
    if (!PatchKeys.VERSION_VALUE.equals(metadata.get(PatchKeys.VERSION))) {
      throw malformed(
          "PF-VERSION",
          "is a patch of format version " + Names.quote(metadata.getOrDefault(PatchKeys.VERSION, "")) + ", but only version "
              + PatchKeys.VERSION_VALUE + " is read");
    }
    if (metadata.containsKey(PatchKeys.DIGEST) || metadata.containsKey(PatchKeys.DIGESTS)) {
      checkSeal();
    }
    Map<String, Delta> deltas = new TreeMap<>();
    Set<Map.Entry<String, JsonNode>> entries = object(PatchKeys.DELTAS, require(PatchKeys.DELTAS));
    adapters = adapters(entries);
    for (Map.Entry<String, JsonNode> entry : entries) {
      try {
        Shape shape = shape(entry.getKey(), entry.getValue().get("shape"));
        Delta delta = delta(entry.getKey(), entry.getValue(), shape);
        checkShape(entry.getKey(), delta, shape);
        deltas.put(entry.getKey(), delta);
      } catch (IllegalArgumentException | ArithmeticException e) {
        throw malformed("PF-SHAPE", "tensor " + Names.quote(entry.getKey()) + ": " + e.getMessage());
      }
    }
    Optional<PatchBase> base = base();
    TokenRows rows = tokens();
    for (TensorInfo tensor : tensors.tensors()) {
      if (!used.contains(tensor.name())) {
        throw malformed("PF-TENSORS", "tensor " + Names.quote(tensor.name()) + " belongs to no change");
      }
    }
    try {
      return Patch.of(deltas, base, metadata.getOrDefault(PatchKeys.RECIPE, "")).withTokens(rows);
    } catch (IllegalArgumentException e) {
      throw malformed("PF-KIND", e.getMessage());
    }
  }

  /** From here on, tensors are compared with their digests as they are read. */
  private void checkSeal() throws IOException {
    String expected = digest(require(PatchKeys.DIGEST));
    String text = require(PatchKeys.DIGESTS);
    String found = PatchSeal.digest(metadata, tensors.tensors());
    if (!found.equals(expected)) {
      throw malformed("PF-DIGEST", "its header has the SHA-256 " + found + " but was written with " + expected);
    }
    tensors = new CheckedTensors(tensors, PatchSeal.digests(object(PatchKeys.DIGESTS, text)));
  }

  /** Changes of adapters are made before all others, those of an adapter together. */
  private AdapterTerms adapters(Set<Map.Entry<String, JsonNode>> entries) throws IOException {
    JsonNode configs = json(PatchKeys.ADAPTERS, metadata.getOrDefault(PatchKeys.ADAPTERS, "[]"));
    if (!configs.isArray()) {
      throw malformed("PF-FORMAT", PatchKeys.ADAPTERS + " is no JSON list");
    }
    List<AdapterTerms.Term> terms = new ArrayList<>();
    for (Map.Entry<String, JsonNode> entry : entries) {
      for (JsonNode term : entry.getValue().path("terms")) {
        if (term.path("kind").asText().equals(PatchKeys.ADAPTER)) {
          terms.add(adapterTerm(entry.getKey(), term, shape(entry.getKey(), entry.getValue().get("shape"))));
        }
      }
    }
    return AdapterTerms.read(file, tensors, configs, terms, used);
  }

  private AdapterTerms.Term adapterTerm(String tensor, JsonNode term, Shape shape) throws IOException {
    int number = (int) Math.min(whole(tensor, term, "adapter"), Integer.MAX_VALUE);
    List<String> parts = new ArrayList<>();
    for (JsonNode part : term.path("parts")) {
      parts.add(part.asText());
    }
    return new AdapterTerms.Term(tensor, shape, number, term.path("module").asText(), shape(tensor, term.get("weight")), parts);
  }

  private void checkShape(String tensor, Delta delta, Shape shape) throws IOException {
    Shape found = PatchContents.shapeOf(delta);
    if (!found.equals(shape)) {
      throw malformed("PF-SHAPE", "tensor " + Names.quote(tensor) + " is said to be " + shape + ", but its change is " + found);
    }
    if (delta instanceof Delta.Sum sum) {
      for (Delta.Term term : sum.terms()) {
        if (term.delta().shape().columns() != shape.columns()) {
          throw malformed(
              "PF-SHAPE", "tensor " + Names.quote(tensor) + " is " + shape + ", but one of its changes is " + term.delta().shape());
        }
      }
    }
  }

  private Delta delta(String tensor, JsonNode entry, Shape shape) throws IOException {
    JsonNode list = entry.get("terms");
    if (list == null || !list.isArray() || list.isEmpty()) {
      throw malformed("PF-KIND", "tensor " + Names.quote(tensor) + " has no terms");
    }
    String kind = list.get(0).path("kind").asText();
    if (list.size() == 1 && kind.equals(PatchKeys.REPLACEMENT)) {
      return new Delta.Replacement(part(tensor, 0, "weight"));
    }
    if (list.size() == 1 && kind.equals(PatchKeys.EXACT)) {
      return new Delta.Exact(exact(tensor, list.get(0)));
    }
    if (list.size() == 1 && kind.equals(PatchKeys.ROW_REPLACEMENT)) {
      return new Delta.RowReplacement(indices(tensor, 0, shape), part(tensor, 0, "weight"), shape);
    }
    List<Delta.Term> terms = new ArrayList<>();
    for (JsonNode term : list) {
      terms.add(new Delta.Term(number(tensor, term, "factor"), term(tensor, terms.size(), term, shape)));
    }
    return terms.size() == 1 && terms.get(0).factor() == 1 ? terms.get(0).delta() : new Delta.Sum(terms);
  }

  private Delta term(String tensor, int number, JsonNode term, Shape shape) throws IOException {
    String kind = term.path("kind").asText();
    return switch (kind) {
      case PatchKeys.DENSE -> new Delta.Dense(part(tensor, number, "delta"));
      case PatchKeys.LOW_RANK -> product(tensor, number, term, shape);
      case PatchKeys.QUANTISED_LOW_RANK -> fewBits(tensor, number, term, shape);
      case PatchKeys.LOW_RANK_STACK -> stack(tensor, number, term, shape);
      case PatchKeys.ROWS -> new Delta.Rows(indices(tensor, number, shape), part(tensor, number, "delta"), Optional.empty(), shape);
      case PatchKeys.QUANTISED -> quantised(tensor, number, term, shape(tensor, term.get("shape")));
      case PatchKeys.ADAPTER -> adapters.change(adapterTerm(tensor, term, shape));
      case PatchKeys.SPARSE -> sparse(tensor, number, term, shape(tensor, term.get("shape")));
      default -> throw malformed("PF-KIND", "tensor " + Names.quote(tensor) + " has a change of the unknown kind " + Names.quote(kind));
    };
  }

  private Delta.LowRank fewBits(String tensor, int number, JsonNode term, Shape shape) throws IOException {
    if (shape.rank() < 2) {
      throw malformed("PF-SHAPE", "tensor " + Names.quote(tensor) + ": factors do not make " + shape);
    }
    long rank = whole(tensor, term, "rank");
    Delta.Quantised a = quantised(tensor, number, "lora_A.", term, Shape.of(rank, shape.columns()));
    Delta.Quantised b = quantised(tensor, number, "lora_B.", term, Shape.of(rank, shape.rows()));
    return new Delta.LowRank(
        QuantisedFactor.left(PatchKeys.part(tensor, number, "lora_B"), b),
        QuantisedFactor.right(PatchKeys.part(tensor, number, "lora_A"), a),
        number(tensor, term, "scale"),
        false,
        shape);
  }

  private Delta.Quantised quantised(String tensor, int number, JsonNode term, Shape shape) throws IOException {
    return quantised(tensor, number, "", term, shape);
  }

  private Delta.Quantised quantised(String tensor, int number, String prefix, JsonNode term, Shape shape) throws IOException {
    return new Delta.Quantised(
        part(tensor, number, prefix + "codes"),
        part(tensor, number, prefix + "scales"),
        Math.toIntExact(Math.min(whole(tensor, term, "bits"), Integer.MAX_VALUE)),
        whole(tensor, term, "group"),
        shape);
  }

  private Delta.Sparse sparse(String tensor, int number, JsonNode term, Shape shape) throws IOException {
    String coding = term.path("positions").asText();
    Delta.Sparse.Coding known =
        switch (coding) {
          case "gaps" -> Delta.Sparse.Coding.GAPS;
          case "bitmap" -> Delta.Sparse.Coding.BITMAP;
          default -> throw malformed(
              "PF-KIND", "tensor " + Names.quote(tensor) + " has positions in the unknown coding " + Names.quote(coding));
        };
    Tensor positions = part(tensor, number, "positions");
    Tensor offsets = part(tensor, number, "offsets");
    Delta values =
        term.has("bits")
            ? quantised(tensor, number, term, Shape.of(count(offsets)))
            : new Delta.Dense(part(tensor, number, "delta"));
    return new Delta.Sparse(positions, offsets, known, values, shape);
  }

  /** The number of values that the last row of {@code offsets} states. */
  private long count(Tensor offsets) throws IOException {
    TensorInfo info = offsets.info();
    if (info.dtype() != DType.I64 || info.elements() < 2) {
      throw malformed(
          "PF-SHAPE", "tensor " + Names.quote(info.name()) + " must be I64 with two columns but is " + info.dtype() + " " + info.shape());
    }
    ByteBuffer last = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN);
    offsets.read(info.bytes() - 16, last);
    return last.getLong(0);
  }

  private long whole(String tensor, JsonNode term, String field) throws IOException {
    JsonNode value = term.get(field);
    if (value == null || !value.isIntegralNumber() || !value.canConvertToLong() || value.longValue() < 0) {
      throw malformed("PF-KIND", "tensor " + Names.quote(tensor) + " needs a whole number of 0 or more as " + field);
    }
    return value.longValue();
  }

  private Delta product(String tensor, int number, JsonNode term, Shape shape) throws IOException {
    boolean transposed = isTransposed(tensor, term);
    Tensor b = part(tensor, number, "lora_B");
    Tensor a = part(tensor, number, "lora_A");
    if (shape.rank() < 2 || a.info().shape().rank() < 2 || b.info().shape().rank() < 2) {
      throw malformed(
          "PF-SHAPE",
          "tensor " + Names.quote(tensor) + ": factors of " + b.info().shape() + " and " + a.info().shape() + " do not make " + shape);
    }
    // Beside other changes, a product may have fewer rows than the tensor.
    long rows = transposed ? a.info().shape().columns() : b.info().shape().rows();
    return new Delta.LowRank(b, a, number(tensor, term, "scale"), transposed, shape.withRows(rows));
  }

  private boolean isTransposed(String tensor, JsonNode term) throws IOException {
    JsonNode transposed = term.get("transposed");
    if (transposed == null || !transposed.isBoolean()) {
      throw malformed("PF-KIND", "tensor " + Names.quote(tensor) + " needs true or false as transposed");
    }
    return transposed.booleanValue();
  }

  private Delta.Computed stack(String tensor, int number, JsonNode term, Shape shape) throws IOException {
    JsonNode ranks = term.path("ranks");
    if (shape.rank() < 3 || !ranks.isArray() || ranks.size() != Stacks.count(shape)) {
      throw malformed("PF-SHAPE", "tensor " + Names.quote(tensor) + " needs ranks for each matrix of the stack " + shape);
    }
    boolean transposed = isTransposed(tensor, term);
    double scale = number(tensor, term, "scale");
    Shape matrix = Stacks.matrix(shape);
    long out = transposed ? matrix.columns() : matrix.rows();
    long in = transposed ? matrix.rows() : matrix.columns();
    Tensor a = part(tensor, number, "lora_A");
    Tensor b = part(tensor, number, "lora_B");
    List<Delta.LowRank> products = new ArrayList<>();
    long before = 0;
    for (JsonNode rank : ranks) {
      if (!rank.isIntegralNumber() || !rank.canConvertToInt() || rank.intValue() < 0) {
        throw malformed("PF-SHAPE", "tensor " + Names.quote(tensor) + " has a rank " + Names.quote(rank.toString()));
      }
      Tensor one = TensorSlice.of(b, before * out, Shape.of(out, rank.intValue()));
      Tensor other = TensorSlice.of(a, before * in, Shape.of(rank.intValue(), in));
      products.add(new Delta.LowRank(one, other, scale, transposed, matrix));
      before += rank.intValue();
    }
    if (!a.info().shape().equals(Shape.of(before, in)) || !b.info().shape().equals(Shape.of(Math.multiplyExact(before, out)))) {
      throw malformed(
          "PF-SHAPE",
          "tensor " + Names.quote(tensor) + ": factors of " + b.info().shape() + " and " + a.info().shape() + " do not make " + shape
              + " by " + before + " ranks");
    }
    return new Delta.Computed(new StackedFactors(shape, products), Optional.empty());
  }

  private EncodedChange exact(String tensor, JsonNode term) throws IOException {
    Optional<EncodedChange.Side> base = side(tensor, term.get("base"));
    Optional<EncodedChange.Side> result = side(tensor, term.get("result"));
    if (base.isEmpty() && result.isEmpty()) {
      throw malformed("PF-EXACT", "tensor " + Names.quote(tensor) + " has neither a base nor a result");
    }
    Optional<TensorInfo> from = base.map(EncodedChange.Side::info);
    Optional<TensorInfo> to = result.map(EncodedChange.Side::info);
    boolean same = from.equals(to);
    JsonNode inverted = term.get("inverted");
    if (inverted != null && !inverted.isBoolean()) {
      throw malformed("PF-KIND", "tensor " + Names.quote(tensor) + " needs true or false as inverted");
    }
    return new EncodedChange(
        base,
        result,
        same ? Optional.of(payload(tensor, "change", from.get(), term)) : Optional.empty(),
        same || from.isEmpty() ? Optional.empty() : Optional.of(payload(tensor, "base", from.get(), term)),
        same || to.isEmpty() ? Optional.empty() : Optional.of(payload(tensor, "result", to.get(), term)),
        inverted != null && inverted.booleanValue(),
        file,
        decoders);
  }

  private Optional<EncodedChange.Side> side(String tensor, JsonNode node) throws IOException {
    if (node == null) {
      return Optional.empty();
    }
    DType type =
        DType.named(node.path(0).asText()).orElseThrow(() -> malformed("PF-EXACT", "tensor " + Names.quote(tensor) + " has no known type"));
    TensorInfo info = info("PF-EXACT", tensor, type, node.get(1));
    try {
      if (info.elements() % type.blockElements() == 0 && ExactPayload.blocks(info) >= 0) {
        return Optional.of(new EncodedChange.Side(info, digest(node.path(2).asText())));
      }
    } catch (ArithmeticException e) {
      throw malformed("PF-EXACT", "tensor " + Names.quote(tensor) + ": " + type + " " + info.shape() + " is too large");
    }
    throw malformed("PF-EXACT", "tensor " + Names.quote(tensor) + ": " + type + " " + info.shape() + " fills no whole bytes");
  }

  private TensorInfo info(String rule, String tensor, DType type, JsonNode shape) throws IOException {
    Shape dimensions = shape(tensor, shape);
    try {
      return new TensorInfo(tensor, type, dimensions);
    } catch (IllegalArgumentException e) {
      throw malformed(rule, "tensor " + Names.quote(tensor) + ": " + e.getMessage());
    }
  }

  private EncodedChange.Payload payload(String tensor, String part, TensorInfo info, JsonNode term) throws IOException {
    Tensor stored = part(tensor, 0, part);
    long table = (long) ExactPayload.END_BYTES * ExactPayload.blocks(info);
    if (stored.info().dtype() != DType.U8 || stored.info().shape().rank() != 1 || stored.info().bytes() < table) {
      throw malformed(
          "PF-EXACT",
          "tensor " + Names.quote(stored.info().name()) + " must be a list of at least " + table + " U8 but is " + stored.info().dtype()
              + " " + stored.info().shape());
    }
    return new EncodedChange.Payload(stored, digest(term.path("payloads").path(part).asText()));
  }

  private Tensor part(String tensor, int number, String part) throws IOException {
    String name = PatchKeys.part(tensor, number, part);
    used.add(name);
    return tensors.tensor(name).orElseThrow(() -> malformed("PF-TENSORS", "tensor " + Names.quote(name) + " is missing"));
  }

  private ImmutableLongArray indices(String tensor, int number, Shape shape) throws IOException {
    Tensor stored = part(tensor, number, "indices");
    if (stored.info().dtype() != DType.I64 || stored.info().shape().rank() != 1 || stored.info().bytes() > Integer.MAX_VALUE) {
      throw malformed("PF-INDEX", "tensor " + Names.quote(stored.info().name()) + " must be a list of I64 but is " + stored.info().dtype()
          + " " + stored.info().shape());
    }
    ByteBuffer bytes = ByteBuffer.allocate((int) stored.info().bytes()).order(ByteOrder.LITTLE_ENDIAN);
    stored.read(0, bytes);
    long[] values = new long[bytes.capacity() / 8];
    bytes.flip().asLongBuffer().get(values);
    Set<Long> seen = new HashSet<>();
    for (int i = 0; i < values.length; i++) {
      if (values[i] < 0 || values[i] >= shape.rows() || !seen.add(values[i])) {
        String problem = seen.contains(values[i]) ? "occurs again" : "is no row of " + shape;
        throw malformed("PF-INDEX", "tensor " + Names.quote(stored.info().name()) + ": number " + i + ", " + values[i] + ", " + problem);
      }
    }
    return ImmutableLongArray.copyOf(values);
  }

  private TokenRows tokens() throws IOException {
    Optional<Tensor> table = tensors.tensor(PatchKeys.TOKENS);
    if (table.isEmpty()) {
      return TokenRows.unknown();
    }
    used.add(PatchKeys.TOKENS);
    TensorInfo info = table.get().info();
    if (info.dtype() != DType.U8 || info.shape().rank() != 1 || info.bytes() > TokenTable.MOST_BYTES) {
      throw malformed(
          "PF-TOKENS",
          "tensor " + Names.quote(info.name()) + " must be a list of at most " + TokenTable.MOST_BYTES + " U8 but is " + info.dtype() + " "
              + info.shape());
    }
    ByteBuffer bytes = ByteBuffer.allocate((int) info.bytes());
    table.get().read(0, bytes);
    String first = require(PatchKeys.FIRST_ADDED);
    Map<Integer, JsonNode> added = new TreeMap<>();
    try {
      for (Map.Entry<String, JsonNode> entry : object(PatchKeys.ADDED, require(PatchKeys.ADDED))) {
        added.put(Integer.valueOf(entry.getKey()), entry.getValue());
      }
      return TokenTable.decode(bytes.flip(), Integer.parseInt(first), added);
    } catch (IllegalArgumentException e) {
      throw malformed("PF-TOKENS", "the tokens are not readable: " + Names.quote(String.valueOf(e.getMessage())));
    }
  }

  private Optional<PatchBase> base() throws IOException {
    if (!metadata.containsKey(PatchKeys.BASE_TENSORS)) {
      return Optional.empty();
    }
    List<TensorInfo> infos = new ArrayList<>();
    Map<String, String> digests = new TreeMap<>();
    for (Map.Entry<String, JsonNode> entry : object(PatchKeys.BASE_TENSORS, require(PatchKeys.BASE_TENSORS))) {
      String name = entry.getKey();
      DType type =
          DType.named(entry.getValue().path(0).asText())
              .orElseThrow(() -> malformed("PF-BASE", "tensor " + Names.quote(name) + " of the base has no known type"));
      infos.add(info("PF-BASE", name, type, entry.getValue().get(1)));
      if (entry.getValue().has(2)) {
        digests.put(name, digest(entry.getValue().get(2).asText()));
      }
    }
    Tying tying;
    try {
      tying = Tying.valueOf(metadata.getOrDefault(PatchKeys.BASE_TYING, Tying.UNKNOWN.name()));
    } catch (IllegalArgumentException e) {
      throw malformed("PF-BASE", PatchKeys.BASE_TYING + " must be TIED, UNTIED or UNKNOWN but is "
          + Names.quote(metadata.get(PatchKeys.BASE_TYING)));
    }
    String fingerprint = metadata.get(PatchKeys.BASE_FINGERPRINT);
    return Optional.of(
        new PatchBase(
            metadata.getOrDefault(PatchKeys.BASE_NAME, ""),
            fingerprint == null ? Optional.empty() : Optional.of(digest(fingerprint)),
            tying,
            infos,
            digests,
            Optional.empty(),
            sketch(infos)));
  }

  private Optional<BaseSketch> sketch(List<TensorInfo> base) throws IOException {
    if (!metadata.containsKey(PatchKeys.BASE_SKETCHES)) {
      return Optional.empty();
    }
    Set<String> known = base.stream().map(TensorInfo::name).collect(Collectors.toSet());
    Map<String, Boolean> contents = new TreeMap<>();
    for (Map.Entry<String, JsonNode> entry : object(PatchKeys.BASE_SKETCHES, require(PatchKeys.BASE_SKETCHES))) {
      if (!known.contains(entry.getKey()) || !entry.getValue().isBoolean()) {
        throw malformed(
            "PF-SKETCH",
            "tensor " + Names.quote(entry.getKey()) + " must be one of the base's, and true or false be said of its sketch, but it is "
                + Names.quote(entry.getValue().toString()));
      }
      contents.put(entry.getKey(), entry.getValue().booleanValue());
    }
    Map<String, String> config = new TreeMap<>();
    for (Map.Entry<String, JsonNode> entry : object(PatchKeys.BASE_CONFIG, metadata.getOrDefault(PatchKeys.BASE_CONFIG, "{}"))) {
      config.put(entry.getKey(), entry.getValue().asText());
    }
    Tensor vector =
        tensors.tensor(PatchKeys.BASE_SKETCHES).orElseThrow(() -> malformed("PF-SKETCH", "the sketches of the base are missing"));
    long length = SketchCoding.length(contents);
    if (vector.info().dtype() != DType.F32 || !vector.info().shape().equals(Shape.of(length))) {
      throw malformed(
          "PF-SKETCH",
          "the sketches of the base must be F32 [" + length + "] but are " + vector.info().dtype() + " " + vector.info().shape());
    }
    used.add(PatchKeys.BASE_SKETCHES);
    try {
      return Optional.of(new BaseSketch(config, SketchCoding.read(contents, vector)));
    } catch (IllegalArgumentException e) {
      throw malformed("PF-SKETCH", e.getMessage());
    }
  }

  private String digest(String text) throws IOException {
    if (!text.matches("[0-9a-f]{64}")) {
      throw malformed("PF-BASE", "a digest must be 64 lower-case hexadecimal digits but is " + Names.quote(text));
    }
    return text;
  }

  private Shape shape(String tensor, JsonNode node) throws IOException {
    if (node == null || !node.isArray()) {
      throw malformed("PF-SHAPE", "tensor " + Names.quote(tensor) + " has no shape");
    }
    long[] dimensions = new long[node.size()];
    for (int i = 0; i < dimensions.length; i++) {
      if (!node.get(i).isIntegralNumber() || !node.get(i).canConvertToLong()) {
        throw malformed("PF-SHAPE", "tensor " + Names.quote(tensor) + " has a dimension " + Names.quote(node.get(i).toString()));
      }
      dimensions[i] = node.get(i).longValue();
    }
    try {
      return Shape.of(dimensions);
    } catch (IllegalArgumentException | ArithmeticException e) {
      throw malformed("PF-SHAPE", "tensor " + Names.quote(tensor) + ": " + e.getMessage());
    }
  }

  private double number(String tensor, JsonNode term, String field) throws IOException {
    JsonNode value = term.get(field);
    if (value == null || !value.isNumber() || !Double.isFinite(value.doubleValue())) {
      throw malformed("PF-KIND", "tensor " + Names.quote(tensor) + " needs a finite number as " + field);
    }
    return value.doubleValue();
  }

  private String require(String key) throws IOException {
    String value = metadata.get(key);
    if (value == null) {
      throw malformed("PF-FORMAT", "its metadata lacks " + key);
    }
    return value;
  }

  private Set<Map.Entry<String, JsonNode>> object(String key, String text) throws IOException {
    JsonNode root = json(key, text);
    if (!root.isObject()) {
      throw malformed("PF-FORMAT", key + " is no JSON object");
    }
    return root.properties();
  }

  private JsonNode json(String key, String text) throws IOException {
    // The text is as long as the header at most, which was checked; inside it, names are as long as they like.
    StreamReadConstraints constraints =
        StreamReadConstraints.builder().maxNestingDepth(16).maxNameLength(Integer.MAX_VALUE).maxStringLength(Integer.MAX_VALUE).build();
    ObjectMapper mapper =
        new ObjectMapper(
                JsonFactory.builder().streamReadConstraints(constraints).enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION).build())
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);
    try {
      return mapper.readTree(text);
    } catch (JsonProcessingException e) {
      throw malformed("PF-FORMAT", key + " is not JSON: " + Names.quote(e.getOriginalMessage()));
    }
  }

  private MalformedModelException malformed(String rule, String message) {
    return new MalformedModelException(file, rule, -1, message);
  }
}
