package io.portllm.io.internal.patchfile;

import com.fasterxml.jackson.databind.JsonNode;
import io.portllm.DType;
import io.portllm.PatchBase;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.Tying;
import io.portllm.internal.text.Names;
import io.portllm.portability.BaseSketch;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;

/** What a patch file says of the base that its patch was made from. */
final class StoredBase {
  private final PatchFields fields;
  private final StoredParts parts;

  StoredBase(PatchFields fields, StoredParts parts) {
    this.fields = fields;
    this.parts = parts;
  }

  Optional<PatchBase> base() throws IOException {
    if (!fields.metadata().containsKey(PatchKeys.BASE_TENSORS)) {
      return Optional.empty();
    }
    List<TensorInfo> infos = new ArrayList<>();
    Map<String, String> digests = new TreeMap<>();
    for (Map.Entry<String, JsonNode> entry : fields.object(PatchKeys.BASE_TENSORS, fields.require(PatchKeys.BASE_TENSORS))) {
      String name = entry.getKey();
      DType type =
          DType.named(entry.getValue().path(0).asText())
              .orElseThrow(() -> fields.malformed("PF-BASE", "tensor " + Names.quote(name) + " of the base has no known type"));
      infos.add(fields.info("PF-BASE", name, type, entry.getValue().get(1)));
      if (entry.getValue().has(2)) {
        digests.put(name, fields.digest(entry.getValue().get(2).asText()));
      }
    }
    Tying tying;
    try {
      tying = Tying.valueOf(fields.metadata().getOrDefault(PatchKeys.BASE_TYING, Tying.UNKNOWN.name()));
    } catch (IllegalArgumentException e) {
      throw fields.malformed("PF-BASE", PatchKeys.BASE_TYING + " must be TIED, UNTIED or UNKNOWN but is "
          + Names.quote(fields.metadata().get(PatchKeys.BASE_TYING)));
    }
    String fingerprint = fields.metadata().get(PatchKeys.BASE_FINGERPRINT);
    return Optional.of(
        new PatchBase(
            fields.metadata().getOrDefault(PatchKeys.BASE_NAME, ""),
            fingerprint == null ? Optional.empty() : Optional.of(fields.digest(fingerprint)),
            tying,
            infos,
            digests,
            Optional.empty(),
            sketch(infos)));
  }

  private Optional<BaseSketch> sketch(List<TensorInfo> base) throws IOException {
    if (!fields.metadata().containsKey(PatchKeys.BASE_SKETCHES)) {
      return Optional.empty();
    }
    Set<String> known = base.stream().map(TensorInfo::name).collect(Collectors.toSet());
    Map<String, Boolean> contents = new TreeMap<>();
    for (Map.Entry<String, JsonNode> entry : fields.object(PatchKeys.BASE_SKETCHES, fields.require(PatchKeys.BASE_SKETCHES))) {
      if (!known.contains(entry.getKey()) || !entry.getValue().isBoolean()) {
        throw fields.malformed(
            "PF-SKETCH",
            "tensor " + Names.quote(entry.getKey()) + " must be one of the base's, and true or false be said of its sketch, but it is "
                + Names.quote(entry.getValue().toString()));
      }
      contents.put(entry.getKey(), entry.getValue().booleanValue());
    }
    Map<String, String> config = new TreeMap<>();
    String stated = fields.metadata().getOrDefault(PatchKeys.BASE_CONFIG, "{}");
    for (Map.Entry<String, JsonNode> entry : fields.object(PatchKeys.BASE_CONFIG, stated)) {
      config.put(entry.getKey(), entry.getValue().asText());
    }
    Tensor vector =
        parts.tensors()
            .tensor(PatchKeys.BASE_SKETCHES)
            .orElseThrow(() -> fields.malformed("PF-SKETCH", "the sketches of the base are missing"));
    long length = SketchCoding.length(contents);
    if (vector.info().dtype() != DType.F32 || !vector.info().shape().equals(Shape.of(length))) {
      throw fields.malformed(
          "PF-SKETCH",
          "the sketches of the base must be F32 [" + length + "] but are " + vector.info().dtype() + " " + vector.info().shape());
    }
    parts.used().add(PatchKeys.BASE_SKETCHES);
    try {
      return Optional.of(new BaseSketch(config, SketchCoding.read(contents, vector)));
    } catch (IllegalArgumentException e) {
      throw fields.malformed("PF-SKETCH", e.getMessage());
    }
  }
}
