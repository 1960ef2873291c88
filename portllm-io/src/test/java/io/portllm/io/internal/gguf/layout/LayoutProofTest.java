package io.portllm.io.internal.gguf.layout;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.collect.ImmutableMap;
import io.portllm.DType;
import io.portllm.Mismatch;
import io.portllm.Shape;
import io.portllm.TensorInfo;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;

class LayoutProofTest {
  private static final String Q = "model.layers.0.self_attn.q_proj.weight";
  private static final String NORM = "model.norm.weight";
  private static final int COLUMNS = 300;
  private static final int ROWS = 256;

  private final float[] weights = noise(ROWS * COLUMNS, 0.02, 1);
  private final float[] norm = noise(COLUMNS, 0.1, 2);

  private static float[] noise(int count, double size, long seed) {
    Random random = new Random(seed);
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) (size * random.nextGaussian());
    }
    return values;
  }

  private static TensorInfo info(String name, DType type, long... shape) {
    return new TensorInfo(name, type, Shape.of(shape));
  }

  private static Layout layout() {
    return assertInstanceOf(Layout.class, Layouts.of(new Hyperparameters("gemma", List.of(4L), List.of(4L)),
        ImmutableMap.of("blk.0.attn_q.weight", Shape.of(ROWS, COLUMNS), "output_norm.weight", Shape.of(COLUMNS)), List.of()));
  }

  private static Weights stored(DType type) {
    return new Weights().with(info("blk.0.attn_q.weight", type, ROWS, COLUMNS)).with(info("output_norm.weight", DType.F32, COLUMNS));
  }

  private static Weights checkpoint(float[] q, float[] norm) {
    return new Weights().with(info(Q, DType.F32, q.length / COLUMNS, COLUMNS), q).with(info(NORM, DType.F32, COLUMNS), norm);
  }

  private LayoutProof prove(Weights checkpoint, DType type, float[] decoded) throws IOException {
    return LayoutProof.of(layout(), checkpoint, stored(type), checkpoint(decoded, norm), 2);
  }

  @Test
  void equalWeightsProve() throws IOException {
    LayoutProof proof = prove(checkpoint(weights, norm), DType.F32, weights.clone());
    assertTrue(proof.holds());
    assertEquals(2, proof.tensors().size());
    assertEquals(0, proof.worst().orElseThrow().error());
  }

  @Test
  void anErrorOfTheTypesSizeProvesAndItsSizeIsTold() throws IOException {
    float[] decoded = weights.clone();
    float[] error = noise(decoded.length, 0.02 * 0x1p-9, 3);
    for (int i = 0; i < decoded.length; i++) {
      decoded[i] += error[i];
    }
    LayoutProof proof = prove(checkpoint(weights, norm), DType.BF16, decoded);
    assertTrue(proof.holds());
    assertEquals(0x1p-9, proof.worst().orElseThrow().error(), 0.0006);
    assertEquals(Q, proof.worst().orElseThrow().name());
    assertFalse(prove(checkpoint(weights, norm), DType.F16, decoded).holds());
  }

  @Test
  void twoRowsInEachOthersPlaceAreFound() throws IOException {
    float[] decoded = weights.clone();
    System.arraycopy(weights, 7 * COLUMNS, decoded, 250 * COLUMNS, COLUMNS);
    System.arraycopy(weights, 250 * COLUMNS, decoded, 7 * COLUMNS, COLUMNS);
    LayoutProof proof = prove(checkpoint(weights, norm), DType.BF16, decoded);
    assertEquals(1.4, proof.worst().orElseThrow().error(), 0.2);
    assertEquals(List.of(Q), proof.mismatches().stream().map(Mismatch::tensor).toList());
    assertTrue(proof.mismatches().get(0).message().contains("where its type allows 0.00391"), proof.mismatches().toString());
  }

  @Test
  void aShiftThatWasNotTakenBackIsFound() throws IOException {
    float[] raised = norm.clone();
    for (int i = 0; i < raised.length; i++) {
      raised[i] += 1;
    }
    LayoutProof proof = prove(checkpoint(weights, raised), DType.F32, weights);
    assertEquals(List.of(NORM), proof.mismatches().stream().map(Mismatch::tensor).toList());
  }

  @Test
  void notANumberOnOneSideIsFoundAndOnBothIsNot() throws IOException {
    float[] broken = weights.clone();
    broken[12345] = Float.NaN;
    assertFalse(prove(checkpoint(weights, norm), DType.F32, broken).holds());
    assertTrue(prove(checkpoint(broken.clone(), norm), DType.F32, broken).holds());
  }

  @Test
  void rowsOfNothingMustBeNothing() throws IOException {
    float[] zeros = weights.clone();
    Arrays.fill(zeros, 3 * COLUMNS, 4 * COLUMNS, 0);
    assertTrue(prove(checkpoint(zeros, norm), DType.F32, zeros.clone()).holds());
    assertFalse(prove(checkpoint(zeros, norm), DType.F32, weights).holds());
  }

  @Test
  void tensorsOfOneSideAndOtherShapesAreAllNamed() throws IOException {
    Weights checkpoint = new Weights()
        .with(info(Q, DType.F32, ROWS + 1, COLUMNS), noise((ROWS + 1) * COLUMNS, 1, 1))
        .with(info("model.layers.0.self_attn.rotary_emb.inv_freq", DType.F32, 4), 1, 2, 3, 4)
        .with(info("strange.weight", DType.F32, 1), 1);
    LayoutProof proof = prove(checkpoint, DType.F32, weights);
    assertEquals(
        List.of("strange.weight", Q, NORM), proof.mismatches().stream().map(Mismatch::tensor).toList());
    assertEquals("shape must be [256, 300] as in the GGUF file but is [257, 300]", proof.mismatches().get(1).message());
  }

  @Test
  void rowsThatTheConversionDropsAreNotCompared() throws IOException {
    String name = "model.embed_tokens.weight";
    Layout layout = assertInstanceOf(Layout.class, Layouts.of(
        new Hyperparameters("gemma3", List.of(), List.of()), Map.of("token_embd.weight", Shape.of(200, COLUMNS)), List.of()));
    Weights checkpoint = new Weights().with(info(name, DType.F32, ROWS, COLUMNS), weights);
    Weights decoded = new Weights().with(info(name, DType.F32, 200, COLUMNS), Arrays.copyOf(weights, 200 * COLUMNS));
    Weights stored = new Weights().with(info("token_embd.weight", DType.F32, 200, COLUMNS));
    assertTrue(LayoutProof.of(layout, checkpoint, stored, decoded, 1).holds());
  }
}
