package io.portllm.io.internal.patchfile;

import com.fasterxml.jackson.databind.JsonNode;
import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.Patch;
import io.portllm.PatchBase;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.TokenRows;
import io.portllm.internal.text.Names;
import io.portllm.io.internal.files.StoredModel;
import io.portllm.io.internal.safetensors.SafetensorsModel;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;

/** Makes a patch of the metadata and tensors of a patch file. */
public final class PatchReader {
  private PatchReader() {}

  /** The patch that {@code tensors}, the content of {@code file}, stand for. Reads headers, row numbers and sketches only. */
  public static Patch read(Path file, SafetensorsModel tensors) throws IOException {
    Map<String, String> metadata = tensors.shards().get(0).metadata();
    PatchFields fields = new PatchFields(file, metadata);
    checkFormat(fields);
    boolean sealed = metadata.containsKey(PatchKeys.DIGEST) || metadata.containsKey(PatchKeys.DIGESTS);
    StoredParts parts = new StoredParts(fields, sealed ? sealed(fields, tensors) : tensors);
    Set<Map.Entry<String, JsonNode>> entries = fields.object(PatchKeys.DELTAS, fields.require(PatchKeys.DELTAS));
    DeltaTerms terms = new DeltaTerms(fields, parts, adapters(fields, parts, entries));
    Map<String, Delta> deltas = new TreeMap<>();
    for (Map.Entry<String, JsonNode> entry : entries) {
      try {
        deltas.put(entry.getKey(), terms.read(entry.getKey(), entry.getValue()));
      } catch (IllegalArgumentException | ArithmeticException e) {
        throw fields.malformed("PF-SHAPE", "tensor " + Names.quote(entry.getKey()) + ": " + e.getMessage());
      }
    }
    Optional<PatchBase> base = new StoredBase(fields, parts).base();
    TokenRows rows = tokens(fields, parts);
    parts.requireAllUsed();
    try {
      return Patch.of(deltas, base, metadata.getOrDefault(PatchKeys.RECIPE, "")).withTokens(rows);
    } catch (IllegalArgumentException e) {
      throw fields.malformed("PF-KIND", e.getMessage());
    }
  }

  /** Whether the file says that it is a patch. */
  public static boolean isPatch(SafetensorsModel tensors) {
    return tensors.shards().size() == 1 && PatchKeys.FORMAT_VALUE.equals(tensors.shards().get(0).metadata().get(PatchKeys.FORMAT));
  }

  private static void checkFormat(PatchFields fields) throws IOException {
    Map<String, String> metadata = fields.metadata();
    if (!PatchKeys.FORMAT_VALUE.equals(metadata.get(PatchKeys.FORMAT))) {
      throw fields.malformed("PF-FORMAT", "is no patch: its metadata lacks " + PatchKeys.FORMAT + " = " + PatchKeys.FORMAT_VALUE);
    }
    if (!PatchKeys.VERSION_VALUE.equals(metadata.get(PatchKeys.VERSION))) {
      throw fields.malformed(
          "PF-VERSION",
          "is a patch of format version " + Names.quote(metadata.getOrDefault(PatchKeys.VERSION, "")) + ", but only version "
              + PatchKeys.VERSION_VALUE + " is read");
    }
  }

  /** The tensors, compared with their digests as they are read. */
  private static StoredModel sealed(PatchFields fields, StoredModel tensors) throws IOException {
    String expected = fields.digest(fields.require(PatchKeys.DIGEST));
    String text = fields.require(PatchKeys.DIGESTS);
    String found = PatchSeal.digest(fields.metadata(), tensors.tensors());
    if (!found.equals(expected)) {
      throw fields.malformed("PF-DIGEST", "its header has the SHA-256 " + found + " but was written with " + expected);
    }
    return new CheckedTensors(tensors, PatchSeal.digests(fields.object(PatchKeys.DIGESTS, text)));
  }

  /** Changes of adapters are made before all others, those of an adapter together. */
  private static AdapterTerms adapters(PatchFields fields, StoredParts parts, Set<Map.Entry<String, JsonNode>> entries) throws IOException {
    JsonNode configs = fields.json(PatchKeys.ADAPTERS, fields.metadata().getOrDefault(PatchKeys.ADAPTERS, "[]"));
    if (!configs.isArray()) {
      throw fields.malformed("PF-FORMAT", PatchKeys.ADAPTERS + " is no JSON list");
    }
    List<AdapterTerms.Term> terms = new ArrayList<>();
    for (Map.Entry<String, JsonNode> entry : entries) {
      for (JsonNode term : entry.getValue().path("terms")) {
        if (term.path("kind").asText().equals(PatchKeys.ADAPTER)) {
          terms.add(AdapterTerms.term(fields, entry.getKey(), term, fields.shape(entry.getKey(), entry.getValue().get("shape"))));
        }
      }
    }
    return AdapterTerms.read(fields.file(), parts.tensors(), configs, terms, parts.used());
  }

  private static TokenRows tokens(PatchFields fields, StoredParts parts) throws IOException {
    Optional<Tensor> table = parts.tensors().tensor(PatchKeys.TOKENS);
    if (table.isEmpty()) {
      return TokenRows.unknown();
    }
    parts.used().add(PatchKeys.TOKENS);
    TensorInfo info = table.get().info();
    if (info.dtype() != DType.U8 || info.shape().rank() != 1 || info.bytes() > TokenTable.MOST_BYTES) {
      throw fields.malformed(
          "PF-TOKENS",
          "tensor " + Names.quote(info.name()) + " must be a list of at most " + TokenTable.MOST_BYTES + " U8 but is " + info.dtype() + " "
              + info.shape());
    }
    ByteBuffer bytes = ByteBuffer.allocate((int) info.bytes());
    table.get().read(0, bytes);
    String first = fields.require(PatchKeys.FIRST_ADDED);
    Map<Integer, JsonNode> added = new TreeMap<>();
    try {
      for (Map.Entry<String, JsonNode> entry : fields.object(PatchKeys.ADDED, fields.require(PatchKeys.ADDED))) {
        added.put(Integer.valueOf(entry.getKey()), entry.getValue());
      }
      return TokenTable.decode(bytes.flip(), Integer.parseInt(first), added);
    } catch (IllegalArgumentException e) {
      throw fields.malformed("PF-TOKENS", "the tokens are not readable: " + Names.quote(String.valueOf(e.getMessage())));
    }
  }
}
