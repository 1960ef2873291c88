package io.portllm.io.internal.patchfile;

import com.fasterxml.jackson.databind.JsonNode;
import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.internal.patch.QuantisedFactor;
import io.portllm.internal.patch.StackedFactors;
import io.portllm.internal.patch.Stacks;
import io.portllm.internal.text.Names;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** Makes the changes again that a patch file stores. */
final class DeltaTerms {
  private final PatchFields fields;
  private final StoredParts parts;
  private final AdapterTerms adapters;
  private final ExactTerms exacts;

  DeltaTerms(PatchFields fields, StoredParts parts, AdapterTerms adapters) {
    this.fields = fields;
    this.parts = parts;
    this.adapters = adapters;
    this.exacts = new ExactTerms(fields, parts);
  }

  /** The change of one tensor. */
  Delta read(String tensor, JsonNode entry) throws IOException {
    Shape shape = fields.shape(tensor, entry.get("shape"));
    Delta delta = delta(tensor, entry, shape);
    checkShape(tensor, delta, shape);
    return delta;
  }

  private Delta delta(String tensor, JsonNode entry, Shape shape) throws IOException {
    JsonNode list = entry.get("terms");
    if (list == null || !list.isArray() || list.isEmpty()) {
      throw fields.malformed("PF-KIND", "tensor " + Names.quote(tensor) + " has no terms");
    }
    String kind = list.get(0).path("kind").asText();
    if (list.size() == 1 && kind.equals(PatchKeys.REPLACEMENT)) {
      return new Delta.Replacement(parts.part(tensor, 0, "weight"));
    }
    if (list.size() == 1 && kind.equals(PatchKeys.EXACT)) {
      return new Delta.Exact(exacts.exact(tensor, list.get(0)));
    }
    if (list.size() == 1 && kind.equals(PatchKeys.ROW_REPLACEMENT)) {
      return new Delta.RowReplacement(parts.indices(tensor, 0, shape), parts.part(tensor, 0, "weight"), shape);
    }
    List<Delta.Term> terms = new ArrayList<>();
    for (JsonNode term : list) {
      terms.add(new Delta.Term(fields.number(tensor, term, "factor"), term(tensor, terms.size(), term, shape)));
    }
    return terms.size() == 1 && terms.get(0).factor() == 1 ? terms.get(0).delta() : new Delta.Sum(terms);
  }

  private Delta term(String tensor, int number, JsonNode term, Shape shape) throws IOException {
    String kind = term.path("kind").asText();
    return switch (kind) {
      case PatchKeys.DENSE -> new Delta.Dense(parts.part(tensor, number, "delta"));
      case PatchKeys.LOW_RANK -> product(tensor, number, term, shape);
      case PatchKeys.QUANTISED_LOW_RANK -> fewBits(tensor, number, term, shape);
      case PatchKeys.LOW_RANK_STACK -> stack(tensor, number, term, shape);
      case PatchKeys.ROWS ->
          new Delta.Rows(parts.indices(tensor, number, shape), parts.part(tensor, number, "delta"), Optional.empty(), shape);
      case PatchKeys.QUANTISED -> quantised(tensor, number, term, fields.shape(tensor, term.get("shape")));
      case PatchKeys.ADAPTER -> adapters.change(AdapterTerms.term(fields, tensor, term, shape));
      case PatchKeys.SPARSE -> sparse(tensor, number, term, fields.shape(tensor, term.get("shape")));
      default -> throw fields.malformed(
          "PF-KIND", "tensor " + Names.quote(tensor) + " has a change of the unknown kind " + Names.quote(kind));
    };
  }

  private Delta.LowRank fewBits(String tensor, int number, JsonNode term, Shape shape) throws IOException {
    if (shape.rank() < 2) {
      throw fields.malformed("PF-SHAPE", "tensor " + Names.quote(tensor) + ": factors do not make " + shape);
    }
    long rank = fields.whole(tensor, term, "rank");
    Delta.Quantised a = quantised(tensor, number, "lora_A.", term, Shape.of(rank, shape.columns()));
    Delta.Quantised b = quantised(tensor, number, "lora_B.", term, Shape.of(rank, shape.rows()));
    return new Delta.LowRank(
        QuantisedFactor.left(PatchKeys.part(tensor, number, "lora_B"), b),
        QuantisedFactor.right(PatchKeys.part(tensor, number, "lora_A"), a),
        fields.number(tensor, term, "scale"),
        false,
        shape);
  }

  private Delta.Quantised quantised(String tensor, int number, JsonNode term, Shape shape) throws IOException {
    return quantised(tensor, number, "", term, shape);
  }

  private Delta.Quantised quantised(String tensor, int number, String prefix, JsonNode term, Shape shape) throws IOException {
    return new Delta.Quantised(
        parts.part(tensor, number, prefix + "codes"),
        parts.part(tensor, number, prefix + "scales"),
        Math.toIntExact(Math.min(fields.whole(tensor, term, "bits"), Integer.MAX_VALUE)),
        fields.whole(tensor, term, "group"),
        shape);
  }

  private Delta.Sparse sparse(String tensor, int number, JsonNode term, Shape shape) throws IOException {
    String coding = term.path("positions").asText();
    Delta.Sparse.Coding known =
        switch (coding) {
          case "gaps" -> Delta.Sparse.Coding.GAPS;
          case "bitmap" -> Delta.Sparse.Coding.BITMAP;
          default -> throw fields.malformed(
              "PF-KIND", "tensor " + Names.quote(tensor) + " has positions in the unknown coding " + Names.quote(coding));
        };
    Tensor positions = parts.part(tensor, number, "positions");
    Tensor offsets = parts.part(tensor, number, "offsets");
    Delta values =
        term.has("bits")
            ? quantised(tensor, number, term, Shape.of(count(offsets)))
            : new Delta.Dense(parts.part(tensor, number, "delta"));
    return new Delta.Sparse(positions, offsets, known, values, shape);
  }

  /** The number of values that the last row of {@code offsets} states. */
  private long count(Tensor offsets) throws IOException {
    TensorInfo info = offsets.info();
    if (info.dtype() != DType.I64 || info.elements() < 2) {
      throw fields.malformed(
          "PF-SHAPE", "tensor " + Names.quote(info.name()) + " must be I64 with two columns but is " + info.dtype() + " " + info.shape());
    }
    ByteBuffer last = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN);
    offsets.read(info.bytes() - 16, last);
    return last.getLong(0);
  }

  private Delta product(String tensor, int number, JsonNode term, Shape shape) throws IOException {
    boolean transposed = fields.transposed(tensor, term);
    Tensor b = parts.part(tensor, number, "lora_B");
    Tensor a = parts.part(tensor, number, "lora_A");
    if (shape.rank() < 2 || a.info().shape().rank() < 2 || b.info().shape().rank() < 2) {
      throw fields.malformed(
          "PF-SHAPE",
          "tensor " + Names.quote(tensor) + ": factors of " + b.info().shape() + " and " + a.info().shape() + " do not make " + shape);
    }
    // Beside other changes, a product may have fewer rows than the tensor.
    long rows = transposed ? a.info().shape().columns() : b.info().shape().rows();
    return new Delta.LowRank(b, a, fields.number(tensor, term, "scale"), transposed, shape.withRows(rows));
  }

  private Delta.Computed stack(String tensor, int number, JsonNode term, Shape shape) throws IOException {
    JsonNode ranks = term.path("ranks");
    if (shape.rank() < 3 || !ranks.isArray() || ranks.size() != Stacks.count(shape)) {
      throw fields.malformed("PF-SHAPE", "tensor " + Names.quote(tensor) + " needs ranks for each matrix of the stack " + shape);
    }
    boolean transposed = fields.transposed(tensor, term);
    double scale = fields.number(tensor, term, "scale");
    Shape matrix = Stacks.matrix(shape);
    long out = transposed ? matrix.columns() : matrix.rows();
    long in = transposed ? matrix.rows() : matrix.columns();
    Tensor a = parts.part(tensor, number, "lora_A");
    Tensor b = parts.part(tensor, number, "lora_B");
    List<Delta.LowRank> products = new ArrayList<>();
    long before = 0;
    for (JsonNode rank : ranks) {
      if (!rank.isIntegralNumber() || !rank.canConvertToInt() || rank.intValue() < 0) {
        throw fields.malformed("PF-SHAPE", "tensor " + Names.quote(tensor) + " has a rank " + Names.quote(rank.toString()));
      }
      Tensor one = TensorSlice.of(b, before * out, Shape.of(out, rank.intValue()));
      Tensor other = TensorSlice.of(a, before * in, Shape.of(rank.intValue(), in));
      products.add(new Delta.LowRank(one, other, scale, transposed, matrix));
      before += rank.intValue();
    }
    if (!a.info().shape().equals(Shape.of(before, in)) || !b.info().shape().equals(Shape.of(Math.multiplyExact(before, out)))) {
      throw fields.malformed(
          "PF-SHAPE",
          "tensor " + Names.quote(tensor) + ": factors of " + b.info().shape() + " and " + a.info().shape() + " do not make " + shape
              + " by " + before + " ranks");
    }
    return new Delta.Computed(new StackedFactors(shape, products), Optional.empty());
  }

  private void checkShape(String tensor, Delta delta, Shape shape) throws IOException {
    Shape found = PatchContents.shapeOf(delta);
    if (!found.equals(shape)) {
      throw fields.malformed("PF-SHAPE", "tensor " + Names.quote(tensor) + " is said to be " + shape + ", but its change is " + found);
    }
    if (delta instanceof Delta.Sum sum) {
      for (Delta.Term term : sum.terms()) {
        if (term.delta().shape().columns() != shape.columns()) {
          throw fields.malformed(
              "PF-SHAPE", "tensor " + Names.quote(tensor) + " is " + shape + ", but one of its changes is " + term.delta().shape());
        }
      }
    }
  }
}
