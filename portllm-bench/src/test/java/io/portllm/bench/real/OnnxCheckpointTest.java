package io.portllm.bench.real;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.Shape;
import io.portllm.TensorInfo;
import io.portllm.io.Checkpoints;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class OnnxCheckpointTest {
  private static final TensorInfo BIAS = new TensorInfo("layer.0.dense.bias", DType.F32, Shape.of(2));
  private static final TensorInfo WEIGHT = new TensorInfo("layer.0.dense.weight", DType.F32, Shape.of(2, 3));

  /** y = x W + b, where the graph holds W as 3 x 2. */
  private static Protobuf graph() {
    return new Protobuf()
        .message(1, new Protobuf().text(1, "x").text(1, "onnx::MatMul_7").text(3, "/layer.0/dense/MatMul").text(4, "MatMul"))
        .message(1, new Protobuf().text(1, "z").text(1, "layer.0.dense.bias").text(3, "/layer.0/dense/Add").text(4, "Add"))
        .message(5, tensor("onnx::MatMul_7", 3, 2).bytes(9, Protobuf.floats(1, 2, 3, 4, 5, 6)))
        .message(5, tensor("layer.0.dense.bias", 2).bytes(4, Protobuf.floats(7, 8)))
        .message(5, new Protobuf().varint(1, 1).varint(2, 7).text(8, "indices").bytes(9, new byte[8]));
  }

  private static Protobuf tensor(String name, long... dimensions) {
    Protobuf packed = new Protobuf();
    for (long dimension : dimensions) {
      packed.raw(dimension);
    }
    return new Protobuf().bytes(1, packed.toByteArray()).varint(2, 1).text(8, name);
  }

  private static OnnxFile file(Protobuf graph) throws IOException {
    return OnnxFile.of("model.onnx", ByteBuffer.wrap(new Protobuf().varint(1, 6).message(7, graph).toByteArray()));
  }

  private static OnnxCheckpoint checkpoint() throws IOException {
    return new OnnxCheckpoint(file(graph()), Map.of("model_type", "bert"), List.of());
  }

  private static float[] read(ModelVersion model, TensorInfo tensor) throws IOException {
    ByteBuffer bytes = ByteBuffer.allocate((int) tensor.bytes()).order(ByteOrder.LITTLE_ENDIAN);
    model.read(tensor, 0, bytes);
    float[] values = new float[(int) tensor.elements()];
    bytes.flip().asFloatBuffer().get(values);
    return values;
  }

  @Test
  void namesMatricesByTheirNodeAndTurnsThemBack() throws IOException {
    try (OnnxCheckpoint checkpoint = checkpoint()) {
      assertEquals(List.of(BIAS, WEIGHT), checkpoint.tensors());
      assertEquals(WEIGHT, checkpoint.find("layer.0.dense.weight").orElseThrow());
      assertTrue(checkpoint.find("onnx::MatMul_7").isEmpty());
      assertArrayEquals(new float[] {1, 3, 5, 2, 4, 6}, read(checkpoint, WEIGHT));
      assertArrayEquals(new float[] {7, 8}, read(checkpoint, BIAS));
    }
  }

  @Test
  void readsAnyRangeAsThePartOfTheWhole() throws IOException {
    try (OnnxCheckpoint checkpoint = checkpoint()) {
      for (TensorInfo tensor : checkpoint.tensors()) {
        ByteBuffer whole = ByteBuffer.allocate((int) tensor.bytes());
        checkpoint.read(tensor, 0, whole);
        for (int from = 0; from <= tensor.bytes(); from += 4) {
          for (int length = 0; from + length <= tensor.bytes(); length++) {
            ByteBuffer part = ByteBuffer.allocate(length);
            checkpoint.read(tensor, from, part);
            assertEquals(whole.slice(from, length), part.flip(), tensor + " from " + from);
          }
        }
      }
    }
  }

  @Test
  void refusesRangesAndTensorsThatAreNotItsOwn() throws IOException {
    OnnxCheckpoint checkpoint = checkpoint();
    ByteBuffer two = ByteBuffer.allocate(8);
    assertThrows(IllegalArgumentException.class, () -> checkpoint.read(BIAS, 4, two));
    assertThrows(IllegalArgumentException.class, () -> checkpoint.read(BIAS, -4, two));
    assertThrows(IllegalArgumentException.class, () -> checkpoint.read(BIAS, 2, ByteBuffer.allocate(4)));
    TensorInfo other = new TensorInfo(BIAS.name(), DType.F32, Shape.of(1, 2));
    assertThrows(IllegalArgumentException.class, () -> checkpoint.read(other, 0, two));
    checkpoint.close();
    assertThrows(IllegalStateException.class, () -> checkpoint.read(BIAS, 0, two));
  }

  @Test
  void isTheSameAfterBeingWrittenAsAFolder(@TempDir Path folder) throws IOException {
    Path output = folder.resolve("model");
    try (OnnxCheckpoint checkpoint = checkpoint()) {
      Checkpoints.write(checkpoint, output);
    }
    try (ModelVersion written = Checkpoints.open(output)) {
      assertTrue(Files.isRegularFile(output.resolve("model.safetensors")));
      assertEquals(Map.of("format", "pt"), written.shards().get(0).metadata());
      assertArrayEquals(new float[] {1, 3, 5, 2, 4, 6}, read(written, WEIGHT));
      assertArrayEquals(new float[] {7, 8}, read(written, BIAS));
    }
  }

  @Test
  void putsAWeightBackWhereTheGraphHasIt() throws IOException {
    OnnxFile file = file(graph());
    OnnxWeight weight = file.weights().get(1);
    weight.putTransposed(ByteBuffer.wrap(Protobuf.floats(10, 30, 50, 20, 40, 60)).order(ByteOrder.LITTLE_ENDIAN));
    OnnxFile again = OnnxFile.of("model.onnx", file.bytes());
    assertEquals(ByteBuffer.wrap(Protobuf.floats(10, 20, 30, 40, 50, 60)), again.weights().get(1).data());
    assertEquals(ByteBuffer.wrap(Protobuf.floats(7, 8)), again.weights().get(0).data());
  }

  @Test
  void refusesGraphsWhoseWeightsAreUnclear() {
    assertRefused("[model.onnx] holds no float32 weights", new Protobuf());
    assertRefused(
        "[model.onnx] initializer 'w': shape [2, 2] of float32 does not fit its 12 bytes",
        new Protobuf().message(5, tensor("w", 2, 2).bytes(9, Protobuf.floats(1, 2, 3))));
    assertRefused(
        "[model.onnx] initializer 'w': dimension must be >= 0 but was -1",
        new Protobuf().message(5, tensor("w", -1).bytes(9, Protobuf.floats(1))));
    assertRefused(
        "[model.onnx] initializer 'w': its values must be in this file but are in another",
        new Protobuf().message(5, tensor("w", 1).varint(14, 1)));
    assertRefused("[model.onnx] initializer 'layer.0.dense.bias': is there twice", graph().message(5, tensor("layer.0.dense.bias", 0)));
    assertRefused(
        "[model.onnx] two initializers stand for 'layer.0.dense.weight'", graph().message(5, tensor("layer.0.dense.weight", 0)));
  }

  private static void assertRefused(String message, Protobuf graph) {
    assertEquals(message, assertThrows(IOException.class, () -> file(graph)).getMessage());
  }
}
