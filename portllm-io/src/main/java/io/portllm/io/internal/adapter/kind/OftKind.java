package io.portllm.io.internal.adapter.kind;

import io.portllm.RowChange;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.io.internal.adapter.AdapterConfig;
import java.io.IOException;
import java.util.List;

/** OFT (arXiv 2306.07280), stored as {@code oft_R}: the rotations of blocks of inputs, each as the upper half of a skew matrix. */
final class OftKind extends SizedByBase {
  private static final String LINEAR = "oft_R.weight";
  private static final String EMBEDDING = "oft_embedding_R.weight";
  private static final List<String> PARTS = List.of(LINEAR, EMBEDDING);

  /** Far more than make a difference in float32. */
  private static final long MOST_TERMS = 1000;

  @Override
  public List<String> parts() {
    return PARTS;
  }

  @Override
  Factory read(AdapterTensors tensors, AdapterTensors.Module module, Kept kept) throws IOException {
    AdapterConfig config = tensors.config();
    boolean embedding = module.has(EMBEDDING);
    Tensor skews = module.get(embedding ? EMBEDDING : LINEAR);
    Shape shape = skews.info().shape();
    boolean shared = config.flag("block_share");
    int block = shape.rank() == 2 ? BlockRotation.side(shape.columns()) : -1;
    if (block < 0 || shape.rows() == 0 || shared && shape.rows() != 1) {
      throw module.shape("the rotations must be " + (shared ? "1" : "blocks") + " x n(n - 1)/2 but are " + shape);
    }
    if (config.fanInFanOut() && !embedding) {
      throw config.malformed("AD-TYPE", "is OFT on weights stored in x out (fan_in_fan_out), which PEFT does not merge");
    }
    double bound = config.flag("coft") ? config.number("eps") : Double.POSITIVE_INFINITY;
    return new Rotated(skews, block, shared, new BlockRotation.Form(terms(config), bound, embedding), kept);
  }

  /** The two settings of the switch mean opposite rotations, so that a default would be a guess: a file must tell. */
  private static int terms(AdapterConfig config) throws IOException {
    if (config.text("use_cayley_neumann", "").isEmpty()) {
      throw config.malformed("AD-CONFIG", "use_cayley_neumann must be true or false, which mean opposite rotations, but is missing");
    }
    if (!config.flag("use_cayley_neumann")) {
      return 0;
    }
    long terms = config.integer("num_cayley_neumann_terms", 5);
    if (terms < 1 || terms > MOST_TERMS) {
      throw config.malformed("AD-CONFIG", "num_cayley_neumann_terms must be within 1 to " + MOST_TERMS + " but is " + terms);
    }
    return (int) terms;
  }

  private record Rotated(Tensor skews, int block, boolean shared, BlockRotation.Form form, Kept kept) implements Factory {
    @Override
    public String expected() {
      return shared ? "a multiple of " + block + " inputs" : block * skews.info().shape().rows() + " inputs";
    }

    @Override
    public boolean fits(Shape weight) {
      return shared ? weight.columns() % block == 0 : weight.columns() == block * skews.info().shape().rows();
    }

    @Override
    public RowChange change(Shape weight) {
      return new BlockRotation(weight, skews, block, form, kept);
    }
  }
}
