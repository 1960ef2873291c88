package io.portllm.io.internal.patchfile;

import com.fasterxml.jackson.databind.JsonNode;
import io.portllm.DType;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.internal.text.Names;
import io.portllm.io.internal.exact.BlockDecoder;
import java.io.IOException;
import java.util.Optional;
import java.util.concurrent.ConcurrentLinkedQueue;

/** Makes the changes again that a patch file stores bit for bit. */
final class ExactTerms {
  private final PatchFields fields;
  private final StoredParts parts;
  private final ConcurrentLinkedQueue<BlockDecoder> decoders = new ConcurrentLinkedQueue<>();

  ExactTerms(PatchFields fields, StoredParts parts) {
    this.fields = fields;
    this.parts = parts;
  }

  EncodedChange exact(String tensor, JsonNode term) throws IOException {
    Optional<EncodedChange.Side> base = side(tensor, term.get("base"));
    Optional<EncodedChange.Side> result = side(tensor, term.get("result"));
    if (base.isEmpty() && result.isEmpty()) {
      throw fields.malformed("PF-EXACT", "tensor " + Names.quote(tensor) + " has neither a base nor a result");
    }
    Optional<TensorInfo> from = base.map(EncodedChange.Side::info);
    Optional<TensorInfo> to = result.map(EncodedChange.Side::info);
    boolean same = from.equals(to);
    JsonNode inverted = term.get("inverted");
    if (inverted != null && !inverted.isBoolean()) {
      throw fields.malformed("PF-KIND", "tensor " + Names.quote(tensor) + " needs true or false as inverted");
    }
    return new EncodedChange(
        base,
        result,
        same ? Optional.of(payload(tensor, "change", from.get(), term)) : Optional.empty(),
        same || from.isEmpty() ? Optional.empty() : Optional.of(payload(tensor, "base", from.get(), term)),
        same || to.isEmpty() ? Optional.empty() : Optional.of(payload(tensor, "result", to.get(), term)),
        inverted != null && inverted.booleanValue(),
        fields.file(),
        decoders);
  }

  private Optional<EncodedChange.Side> side(String tensor, JsonNode node) throws IOException {
    if (node == null) {
      return Optional.empty();
    }
    DType type =
        DType.named(node.path(0).asText())
            .orElseThrow(() -> fields.malformed("PF-EXACT", "tensor " + Names.quote(tensor) + " has no known type"));
    TensorInfo info = fields.info("PF-EXACT", tensor, type, node.get(1));
    try {
      if (info.elements() % type.blockElements() == 0 && ExactPayload.blocks(info) >= 0) {
        return Optional.of(new EncodedChange.Side(info, fields.digest(node.path(2).asText())));
      }
    } catch (ArithmeticException e) {
      throw fields.malformed("PF-EXACT", "tensor " + Names.quote(tensor) + ": " + type + " " + info.shape() + " is too large");
    }
    throw fields.malformed("PF-EXACT", "tensor " + Names.quote(tensor) + ": " + type + " " + info.shape() + " fills no whole bytes");
  }

  private EncodedChange.Payload payload(String tensor, String part, TensorInfo info, JsonNode term) throws IOException {
    Tensor stored = parts.part(tensor, 0, part);
    long table = (long) ExactPayload.END_BYTES * ExactPayload.blocks(info);
    if (stored.info().dtype() != DType.U8 || stored.info().shape().rank() != 1 || stored.info().bytes() < table) {
      throw fields.malformed(
          "PF-EXACT",
          "tensor " + Names.quote(stored.info().name()) + " must be a list of at least " + table + " U8 but is " + stored.info().dtype()
              + " " + stored.info().shape());
    }
    return new EncodedChange.Payload(stored, fields.digest(term.path("payloads").path(part).asText()));
  }
}
