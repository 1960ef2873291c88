package io.portllm.io.internal.adapter.kind;

import io.portllm.Delta;
import io.portllm.Shape;
import io.portllm.Tensor;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * GraLoRA (arXiv 2505.20355): the weight is cut into k × k blocks, each with a product of rank r / k of its own, and alpha / (r + hybrid_r) for all;
 * the hybrid form adds a product over the whole weight.
 */
final class GraLoraKind implements AdapterKind {
  private static final String A = "gralora_A";
  private static final String B = "gralora_B";
  private static final String A_GENERAL = "gralora_A_general.weight";
  private static final String B_GENERAL = "gralora_B_general.weight";

  @Override
  public List<String> parts() {
    return List.of(A, B, A_GENERAL, B_GENERAL);
  }

  @Override
  public Map<String, Delta> deltas(AdapterTensors tensors, AdapterBase base) throws IOException {
    Map<String, Delta> deltas = new TreeMap<>();
    Kept kept = new Kept();
    boolean transposed = tensors.config().fanInFanOut();
    long hybrid = tensors.config().integer("hybrid_r", 0);
    for (AdapterTensors.Module module : tensors.modules().values()) {
      long rank = tensors.config().count("r");
      long blocks = tensors.config().count("gralora_k");
      double scale = tensors.config().number("alpha") / (rank + hybrid);
      Shape a = module.get(A).info().shape();
      Shape b = module.get(B).info().shape();
      if (rank % blocks != 0 || a.rank() != 3 || b.rank() != 3 || a.elements() == 0 || b.elements() == 0) {
        throw module.shape("gralora_A of " + a + " and gralora_B of " + b + " do not cut rank " + rank + " into " + blocks);
      }
      module.get(A, blocks, a.dimension(1), rank);
      module.get(B, blocks, rank, b.dimension(2));
      // A is stored in x rank and B rank x out, so that transposed weights have the roles of the two exchanged.
      Blocks change =
          transposed
              ? new Blocks(module.get(A), false, module.get(B), true, scale, kept)
              : new Blocks(module.get(B), true, module.get(A), false, scale, kept);
      Delta delta = new Delta.Computed(change, Optional.empty());
      if (hybrid > 0) {
        List<Delta.Term> terms = new ArrayList<>();
        terms.add(new Delta.Term(1, delta));
        Tensor left = module.get(B_GENERAL, blocks * b.dimension(2), hybrid);
        Tensor right = module.get(A_GENERAL, hybrid, blocks * a.dimension(1));
        terms.add(new Delta.Term(1, LowRank.of(left, right, scale, transposed)));
        delta = new Delta.Sum(terms);
      } else if (module.has(A_GENERAL) || module.has(B_GENERAL)) {
        throw module.shape("has the factors of the hybrid form, which hybrid_r does not switch on");
      }
      deltas.put(module.weight(), delta);
    }
    return deltas;
  }

  /**
   * The blocks. With s and n for the block's place among the outputs and inputs, o and i for a place within it, element (s·o, n·i) is
   * {@code Σ_q A[n, i, s·q'+q] · B[s, n·q'+q, o]}, where q' is r / k.
   */
  private static final class Blocks extends AdditiveChange {
    private final Tensor rowFactor;
    private final boolean rankFirstInRows;
    private final Tensor columnFactor;
    private final boolean rankFirstInColumns;
    private final float scale;
    private final Kept kept;

    Blocks(Tensor rowFactor, boolean rankFirstInRows, Tensor columnFactor, boolean rankFirstInColumns, double scale, Kept kept) {
      super(Shape.of(length(rowFactor, rankFirstInRows), length(columnFactor, rankFirstInColumns)), rowFactor, columnFactor);
      this.rowFactor = rowFactor;
      this.rankFirstInRows = rankFirstInRows;
      this.columnFactor = columnFactor;
      this.rankFirstInColumns = rankFirstInColumns;
      this.scale = (float) scale;
      this.kept = kept;
    }

    private static long length(Tensor factor, boolean rankFirst) {
      return factor.info().shape().rows() * factor.info().shape().dimension(rankFirst ? 2 : 1);
    }

    /** A factor with the rank before the place within the block: blocks × rank × place. */
    private float[] rankFirst(Tensor factor, boolean already) throws IOException {
      float[] values = Numbers.all(factor);
      if (already) {
        return values;
      }
      int blocks = (int) factor.info().shape().rows();
      int places = (int) factor.info().shape().dimension(1);
      int rank = (int) factor.info().shape().dimension(2);
      float[] turned = new float[values.length];
      for (int block = 0; block < blocks; block++) {
        for (int place = 0; place < places; place++) {
          for (int k = 0; k < rank; k++) {
            turned[(block * rank + k) * places + place] = values[(block * places + place) * rank + k];
          }
        }
      }
      return turned;
    }

    @Override
    void compute(long fromRow, int rows, float[] target) throws IOException {
      float[] left = kept.floats(rowFactor, "rank first", () -> rankFirst(rowFactor, rankFirstInRows));
      float[] right = kept.floats(columnFactor, "rank first", () -> rankFirst(columnFactor, rankFirstInColumns));
      int blocks = (int) rowFactor.info().shape().rows();
      int columns = columns();
      int rowPlaces = Math.toIntExact(shape().rows() / blocks);
      int columnPlaces = columns / blocks;
      int rank = left.length / blocks / rowPlaces;
      int own = rank / blocks;
      Arrays.fill(target, 0, rows * columns, 0);
      for (int row = 0; row < rows; row++) {
        int rowBlock = (int) ((fromRow + row) / rowPlaces);
        int rowPlace = (int) ((fromRow + row) % rowPlaces);
        for (int columnBlock = 0; columnBlock < blocks; columnBlock++) {
          int at = row * columns + columnBlock * columnPlaces;
          for (int q = 0; q < own; q++) {
            float factor = scale * left[(rowBlock * rank + columnBlock * own + q) * rowPlaces + rowPlace];
            int from = (columnBlock * rank + rowBlock * own + q) * columnPlaces;
            for (int i = 0; i < columnPlaces; i++) {
              target[at + i] += factor * right[from + i];
            }
          }
        }
      }
    }
  }
}
