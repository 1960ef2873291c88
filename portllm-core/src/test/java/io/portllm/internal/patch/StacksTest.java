package io.portllm.internal.patch;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.portllm.Shape;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class StacksTest {
  @ParameterizedTest
  @CsvSource({
    "model.layers.0.mlp.experts.gate_up_proj, true",
    "model.layers.0.feed_forward.experts.down_proj, true",
    "model.layers.0.block_sparse_moe.input_linear.weight, true",
    "blk.0.ffn_up_exps.weight, true",
    "encoder.conv1.weight, false",
    "backbone.layers.0.mixer.conv1d.weight, false",
    "model.smoe_conv.weight, false"
  })
  void expertsAreStacksAndConvolutionsAreNot(String name, boolean isStack) {
    assertEquals(isStack, Stacks.isStack(name, Shape.of(4, 6, 5)), name);
    assertEquals(false, Stacks.isStack(name, Shape.of(6, 5)), name + " of two dimensions");
  }
}
