package io.portllm.bench.generate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.portllm.DType;
import io.portllm.TensorInfo;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

class GeneratedModelTest {
  private static final LlamaShape SMALL = LlamaShape.named("0.01b");
  private static final Noise BASE = new Noise(1, 0.02f);

  @Test
  void theLargeShapeHasTinyLlamasWeights() {
    long weights = LlamaShape.named("1.1b").tensors(DType.BF16).stream().mapToLong(TensorInfo::elements).sum();

    assertEquals(1_100_048_384L, weights);
  }

  @Test
  void weightsDependNeitherOnTheRangeReadNorOnTheSharding() {
    GeneratedModel whole = GeneratedModel.model(SMALL, DType.BF16, 1, List.of(BASE));
    GeneratedModel parts = GeneratedModel.model(SMALL, DType.BF16, 3, List.of(BASE));
    TensorInfo tensor = whole.find("model.layers.1.mlp.up_proj.weight").orElseThrow();
    byte[] all = read(whole, tensor, 0, (int) tensor.bytes());
    ByteBuffer pieces = ByteBuffer.allocate(all.length);
    for (int offset = 0; offset < all.length; offset += 1022) {
      pieces.put(read(parts, tensor, offset, Math.min(1022, all.length - offset)));
    }

    assertEquals(3, parts.shards().size());
    assertEquals(whole.tensors(), parts.tensors());
    assertArrayEquals(all, pieces.array());
  }

  @Test
  void weightsLookNormalAndPerturbationsAreSmall() {
    double[] base = weights(List.of(BASE));
    double[] related = weights(List.of(BASE, new Noise(2, 0.002f)));
    double[] other = weights(List.of(new Noise(2, 0.02f)));

    assertEquals(0, dot(base, ones(base.length)) / base.length, 3e-4);
    assertEquals(0.02, Math.sqrt(dot(base, base) / base.length), 2e-4);
    assertEquals(0.995, cosine(base, related), 1e-3);
    assertEquals(0, cosine(base, other), 0.02);
  }

  @Test
  void adapterHasAPairOfFactorsForEachProjection() {
    GeneratedModel adapter = GeneratedModel.adapter(SMALL, 16, DType.F32, BASE);

    assertEquals(2 * 7 * 4, adapter.tensors().size());
    assertEquals("[16, 416]", adapter.find("base_model.model.model.layers.3.mlp.down_proj.lora_A.weight").orElseThrow().shape().toString());
    assertEquals("[160, 16]", adapter.find("base_model.model.model.layers.3.mlp.down_proj.lora_B.weight").orElseThrow().shape().toString());
  }

  @Test
  void readingPastATensorIsRefused() {
    GeneratedModel model = GeneratedModel.model(SMALL, DType.F32, 1, List.of(BASE));
    TensorInfo norm = model.find("model.norm.weight").orElseThrow();

    assertThrows(IllegalArgumentException.class, () -> read(model, norm, norm.bytes() - 4, 8));
  }

  private static byte[] read(GeneratedModel model, TensorInfo tensor, long offset, int length) {
    byte[] bytes = new byte[length];
    model.read(tensor, offset, ByteBuffer.wrap(bytes));
    return bytes;
  }

  private static double[] weights(List<Noise> recipe) {
    GeneratedModel model = GeneratedModel.model(SMALL, DType.F32, 1, recipe);
    TensorInfo tensor = model.find("model.layers.0.self_attn.q_proj.weight").orElseThrow();
    ByteBuffer bytes = ByteBuffer.wrap(read(model, tensor, 0, (int) tensor.bytes())).order(ByteOrder.LITTLE_ENDIAN);
    double[] weights = new double[(int) tensor.elements()];
    for (int i = 0; i < weights.length; i++) {
      weights[i] = bytes.getFloat(4 * i);
    }
    return weights;
  }

  private static double[] ones(int length) {
    double[] ones = new double[length];
    Arrays.fill(ones, 1);
    return ones;
  }

  private static double cosine(double[] left, double[] right) {
    return dot(left, right) / Math.sqrt(dot(left, left) * dot(right, right));
  }

  private static double dot(double[] left, double[] right) {
    double sum = 0;
    for (int i = 0; i < left.length; i++) {
      sum += left[i] * right[i];
    }
    return sum;
  }
}
