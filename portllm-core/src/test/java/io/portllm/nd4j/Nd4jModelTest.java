package io.portllm.nd4j;

import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.Shape;
import io.portllm.Shard;
import io.portllm.SideFile;
import io.portllm.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.EnumSource.Mode;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.memory.MemoryWorkspace;
import org.nd4j.linalg.api.memory.conf.WorkspaceConfiguration;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.indexing.NDArrayIndex;

class Nd4jModelTest {
  @ParameterizedTest
  @EnumSource(value = DataType.class, names = {"BFLOAT16", "HALF"})
  void all65536PatternsPassInAndOut(DataType type) throws IOException {
    byte[] all = new byte[2 << 16];
    for (int i = 0; i < 1 << 16; i++) {
      all[2 * i] = (byte) i;
      all[2 * i + 1] = (byte) (i >> 8);
    }
    ModelVersion model = Nd4jModel.of("m", Map.of("w", array(type, all, 256, 256)));
    assertArrayEquals(all, bytes(model, "w"));
    try (INDArray out = Nd4jModel.toArray(model, "w")) {
      assertEquals(type, out.dataType());
      assertArrayEquals(all, memory(out));
    }
  }

  @Test
  void patternsOfFOrderArraysAndStridedViewsPassToo() throws IOException {
    byte[] all = new byte[2 << 16];
    for (int i = 0; i < 1 << 16; i++) {
      all[2 * i] = (byte) i;
      all[2 * i + 1] = (byte) (i >> 8);
    }
    INDArray columns = array(DataType.BFLOAT16, all, 256, 256).transpose();
    byte[] transposed = new byte[all.length];
    for (int i = 0; i < 1 << 16; i++) {
      int from = i % 256 * 256 + i / 256;
      transposed[2 * i] = all[2 * from];
      transposed[2 * i + 1] = all[2 * from + 1];
    }
    assertArrayEquals(transposed, bytes(Nd4jModel.of("m", Map.of("w", columns)), "w"));
  }

  @ParameterizedTest
  @EnumSource(value = DataType.class, names = {"UTF8", "COMPRESSED", "UNKNOWN"}, mode = Mode.EXCLUDE)
  void randomBytesOfEveryTypePassInAndOut(DataType type) throws IOException {
    byte[] random = random(3 * 5 * 7 * type.width(), type);
    ModelVersion model = Nd4jModel.of("m", Map.of("w", array(type, random, 3, 5, 7)));
    TensorInfo info = model.tensors().get(0);
    assertEquals(Shape.of(3, 5, 7), info.shape());
    assertEquals(type, ArrayTypes.dataType(info.dtype()).orElseThrow());
    assertEquals(type.width(), info.dtype().bytes());
    assertArrayEquals(random, bytes(model, "w"));
    try (INDArray out = Nd4jModel.toArray(model, "w")) {
      assertEquals(type, out.dataType());
      assertArrayEquals(new long[] {3, 5, 7}, out.shape());
      assertArrayEquals(random, memory(out));
    }
  }

  @ParameterizedTest
  @EnumSource(value = DataType.class, names = {"BYTE", "BFLOAT16", "FLOAT", "LONG"})
  void viewsAreReadInCOrder(DataType type) throws IOException {
    INDArray whole = array(type, random(6 * 8 * 10 * type.width(), type), 6, 8, 10);
    List<INDArray> views = List.of(
        whole.get(NDArrayIndex.interval(1, 5), NDArrayIndex.interval(2, 7), NDArrayIndex.interval(3, 9)),
        whole.get(NDArrayIndex.interval(0, 2, 6), NDArrayIndex.all(), NDArrayIndex.interval(1, 3, 10)),
        whole.get(NDArrayIndex.point(3), NDArrayIndex.all(), NDArrayIndex.all()),
        whole.get(NDArrayIndex.all(), NDArrayIndex.point(4), NDArrayIndex.all()),
        whole.get(NDArrayIndex.all(), NDArrayIndex.all(), NDArrayIndex.point(9)),
        whole.permute(2, 0, 1),
        whole.permute(1, 0, 2),
        whole.dup('f'),
        whole.dup('f').get(NDArrayIndex.interval(1, 4), NDArrayIndex.all(), NDArrayIndex.interval(2, 5)),
        whole.reshape(6, 1, 80).permute(1, 2, 0),
        whole.slice(2).getRow(3),
        whole.slice(2).getColumn(3),
        Nd4j.createUninitialized(type, 1, 4).assign(whole.slice(0).getRow(0).get(NDArrayIndex.interval(0, 4))).broadcast(3, 4));
    for (INDArray view : views) {
      String what = Arrays.toString(view.shape()) + " by " + Arrays.toString(view.stride());
      assertArrayEquals(inCOrder(view), bytes(Nd4jModel.of("m", Map.of("w", view)), "w"), what);
    }
  }

  @Test
  void anyRangeOfElementsCanBeRead() throws IOException {
    INDArray whole = array(DataType.FLOAT, random(5 * 6 * 7 * 4, DataType.FLOAT), 5, 6, 7);
    for (INDArray array : List.of(whole, whole.permute(2, 1, 0), whole.get(NDArrayIndex.all(), NDArrayIndex.interval(1, 4)))) {
      ModelVersion model = Nd4jModel.of("m", Map.of("w", array));
      byte[] all = bytes(model, "w");
      for (int from = 0; from <= all.length; from += 4) {
        for (int to = from; to <= all.length; to += 52) {
          ByteBuffer part = ByteBuffer.allocate(to - from + 6).position(2).limit(to - from + 2);
          model.read(model.tensors().get(0), from, part);
          assertFalse(part.hasRemaining());
          assertArrayEquals(Arrays.copyOfRange(all, from, to), Arrays.copyOfRange(part.array(), 2, to - from + 2));
        }
      }
    }
  }

  @Test
  void elementsPastTwoGibibytesAreRead() throws IOException {
    long elements = (1L << 30) + 4096;
    // Pages that nobody touches take no memory.
    Pointer zeros = Pointer.calloc(elements, 2);
    try {
      BytePointer memory = new BytePointer(zeros);
      memory.put(2 * elements - 2, (byte) 0x34);
      memory.put(2 * elements - 1, (byte) 0x12);
      INDArray flat = Nd4j.create(
          Nd4j.createBuffer(zeros, elements, DataType.BFLOAT16), new long[] {elements}, new long[] {1}, 0, 'c', DataType.BFLOAT16);
      Map<String, INDArray> arrays = new LinkedHashMap<>();
      arrays.put("flat", flat);
      arrays.put("columns", flat.reshape(elements / 4096, 4096).transpose());
      arrays.put("tail", flat.get(NDArrayIndex.interval(elements - 3, elements)));
      ModelVersion model = Nd4jModel.of("m", arrays);
      for (TensorInfo info : model.tensors()) {
        ByteBuffer last = ByteBuffer.allocate(4);
        model.read(info, info.bytes() - 4, last);
        assertArrayEquals(new byte[] {0, 0, 0x34, 0x12}, last.array(), info.name());
      }
    } finally {
      Pointer.free(zeros);
    }
  }

  @Test
  void scalarsAndEmptyArraysPassInAndOut() throws IOException {
    Map<String, INDArray> arrays = new LinkedHashMap<>();
    arrays.put("scalar", Nd4j.scalar(1.5f));
    arrays.put("none", Nd4j.create(DataType.BFLOAT16, 0, 5));
    ModelVersion model = Nd4jModel.of("m", arrays);
    assertEquals(
        List.of(new TensorInfo("scalar", DType.F32, Shape.of()), new TensorInfo("none", DType.BF16, Shape.of(0, 5))), model.tensors());
    assertArrayEquals(new byte[] {0, 0, (byte) 0xc0, 0x3f}, bytes(model, "scalar"));
    assertEquals(0, bytes(model, "none").length);
    Map<String, INDArray> out = Nd4jModel.toArrays(model);
    assertEquals(List.of("scalar", "none"), new ArrayList<>(out.keySet()));
    assertEquals(0, out.get("scalar").rank());
    assertEquals(1.5f, out.get("scalar").getFloat(0));
    assertTrue(out.get("none").isEmpty());
    assertArrayEquals(new long[] {0, 5}, out.get("none").shape());
    assertEquals(DataType.BFLOAT16, out.get("none").dataType());
  }

  @Test
  void oneShardHoldsTheTensorsInTheOrderOfTheMap() {
    Map<String, INDArray> arrays = new LinkedHashMap<>();
    for (String name : List.of("z", "a", "m")) {
      arrays.put(name, Nd4j.create(DataType.FLOAT, 2));
    }
    ModelVersion model = Nd4jModel.of("m", arrays, Map.of("tie_word_embeddings", "true"));
    assertEquals(List.of(new Shard("model.safetensors", Map.of(), model.tensors())), model.shards());
    assertEquals(List.of("z", "a", "m"), model.tensors().stream().map(TensorInfo::name).toList());
    assertEquals(Map.of("tie_word_embeddings", "true"), model.config());
    assertEquals(List.of(), model.sideFiles());
    assertEquals(Optional.empty(), model.find("b"));
  }

  @Test
  void closingTheVersionLeavesTheArraysOpen() throws IOException {
    INDArray array = Nd4j.create(DataType.FLOAT, 2);
    ModelVersion model = Nd4jModel.of("m", Map.of("w", array));
    model.close();
    model.close();
    assertFalse(array.wasClosed());
    assertThrows(IllegalStateException.class, () -> bytes(model, "w"));
  }

  @Test
  void aClosedArrayIsRefusedNotRead() {
    INDArray array = Nd4j.create(DataType.FLOAT, 2);
    ModelVersion model = Nd4jModel.of("m", Map.of("w", array));
    array.close();
    assertEquals("tensor 'w': its array was closed", assertThrows(IllegalStateException.class, () -> bytes(model, "w")).getMessage());
    assertEquals(
        "tensor 'w': array must be open but was closed",
        assertThrows(IllegalArgumentException.class, () -> Nd4jModel.of("m", Map.of("w", array))).getMessage());
  }

  @Test
  void arraysThatNoCheckpointCanHoldAreRefusedByName() {
    assertEquals(
        "tensor 'words': array must be of a type that checkpoints have but was UTF8",
        assertThrows(IllegalArgumentException.class, () -> Nd4jModel.of("m", Map.of("words", Nd4j.create("a", "b")))).getMessage());
    assertEquals(
        "tensor 'w': array must have elements or a dimension of size 0 but is empty, of shape []",
        assertThrows(IllegalArgumentException.class, () -> Nd4jModel.of("m", Map.of("w", Nd4j.empty(DataType.FLOAT)))).getMessage());
  }

  @Test
  void arraysOfAWorkspaceAreRefusedAndNoneIsMade() throws IOException {
    ModelVersion model = Nd4jModel.of("m", Map.of("w", Nd4j.ones(DataType.FLOAT, 2)));
    WorkspaceConfiguration configuration = WorkspaceConfiguration.builder().initialSize(1 << 20).build();
    try (MemoryWorkspace workspace = Nd4j.getWorkspaceManager().getAndActivateWorkspace(configuration, "refused")) {
      assertTrue(workspace.isScopeActive());
      INDArray attached = Nd4j.create(DataType.FLOAT, 2);
      assertThrows(IllegalArgumentException.class, () -> Nd4jModel.of("m", Map.of("w", attached)));
      assertFalse(Nd4jModel.toArray(model, "w").isAttached());
    }
  }

  @Test
  void typesThatNd4jLacksAreRefusedByNameBeforeAnythingIsRead() {
    for (DType dtype : DType.values()) {
      if (ArrayTypes.dataType(dtype).isEmpty()) {
        ModelVersion model = new Unreadable(new TensorInfo("w", dtype, Shape.of(256)));
        String message = "tensor 'w': ND4J has no type for " + dtype;
        assertAll(
            () -> assertEquals(message, assertThrows(IllegalArgumentException.class, () -> Nd4jModel.toArrays(model)).getMessage()),
            () -> assertEquals(message, assertThrows(IllegalArgumentException.class, () -> Nd4jModel.toArray(model, "w")).getMessage()));
      }
    }
  }

  @Test
  void readErrorsPassThrough() {
    ModelVersion model = new Unreadable(new TensorInfo("w", DType.F32, Shape.of(8)));
    assertEquals("unreadable", assertThrows(IOException.class, () -> Nd4jModel.toArrays(model)).getMessage());
  }

  @Test
  void rangesAndTensorsThatAreNotTheVersionsAreRefused() {
    ModelVersion model = Nd4jModel.of("m", Map.of("w", Nd4j.create(DataType.FLOAT, 2, 3)));
    TensorInfo info = model.tensors().get(0);
    assertAll(
        () -> assertThrows(IllegalArgumentException.class, () -> model.read(info, -4, ByteBuffer.allocate(4))),
        () -> assertThrows(IllegalArgumentException.class, () -> model.read(info, 2, ByteBuffer.allocate(4))),
        () -> assertThrows(IllegalArgumentException.class, () -> model.read(info, 0, ByteBuffer.allocate(3))),
        () -> assertThrows(IllegalArgumentException.class, () -> model.read(info, 4, ByteBuffer.allocate(24))),
        () -> assertThrows(IllegalArgumentException.class, () -> model.read(info, Long.MAX_VALUE - 3, ByteBuffer.allocate(4))),
        () -> assertThrows(
            IllegalArgumentException.class,
            () -> model.read(new TensorInfo("w", DType.F32, Shape.of(6)), 0, ByteBuffer.allocate(4))),
        () -> assertThrows(IllegalArgumentException.class, () -> Nd4jModel.toArray(model, "v")));
  }

  @Test
  void aPatchOfArraysIsAddedToArrays() throws IOException {
    ModelVersion base = Nd4jModel.of("base", Map.of("w", Nd4j.createFromArray(new float[][] {{1, 2}, {3, 4}})));
    ModelVersion tuned = Nd4jModel.of("tuned", Map.of("w", Nd4j.createFromArray(new float[][] {{1.5f, 2}, {3, 5}})));
    ModelVersion newBase = Nd4jModel.of("new", Map.of("w", Nd4j.createFromArray(new float[][] {{10, 20}, {30, 40}})));
    INDArray expected = Nd4j.createFromArray(new float[][] {{10.5f, 20}, {30, 41}});
    assertEquals(expected, Nd4jModel.toArray(Patch.from(tuned, base).applyTo(newBase), "w"));
  }

  private static byte[] bytes(ModelVersion model, String tensor) throws IOException {
    TensorInfo info = model.find(tensor).orElseThrow();
    ByteBuffer bytes = ByteBuffer.allocate((int) info.bytes());
    model.read(info, 0, bytes);
    return bytes.array();
  }

  private static byte[] random(int length, DataType type) {
    byte[] bytes = new byte[length];
    new Random(length).nextBytes(bytes);
    if (type == DataType.BOOL) {
      for (int i = 0; i < length; i++) {
        bytes[i] &= 1;
      }
    }
    return bytes;
  }

  private static INDArray array(DataType type, byte[] bytes, long... shape) {
    INDArray array = Nd4j.createUninitialized(type, shape);
    new BytePointer(array.data().addressPointer()).put(bytes, 0, bytes.length);
    return array;
  }

  private static byte[] memory(INDArray array) {
    byte[] bytes = new byte[(int) array.length() * array.dataType().width()];
    new BytePointer(array.data().addressPointer()).get(bytes);
    return bytes;
  }

  /** The bytes of a view, element by element, by the definition of strides. */
  private static byte[] inCOrder(INDArray view) {
    int width = view.dataType().width();
    BytePointer buffer = new BytePointer(view.data().pointer());
    ByteBuffer bytes = ByteBuffer.allocate((int) view.length() * width).order(ByteOrder.nativeOrder());
    long[] index = new long[view.rank()];
    while (bytes.hasRemaining()) {
      long at = view.offset();
      for (int i = 0; i < index.length; i++) {
        at += index[i] * view.stride(i);
      }
      for (int i = 0; i < width; i++) {
        bytes.put(buffer.get(at * width + i));
      }
      for (int i = index.length - 1; i >= 0 && ++index[i] == view.size(i); i--) {
        index[i] = 0;
      }
    }
    return bytes.array();
  }

  /** A version of one tensor that cannot be read. */
  private record Unreadable(TensorInfo info) implements ModelVersion {
    @Override
    public String name() {
      return "unreadable";
    }

    @Override
    public List<Shard> shards() {
      return List.of(new Shard("model.safetensors", Map.of(), tensors()));
    }

    @Override
    public List<TensorInfo> tensors() {
      return List.of(info);
    }

    @Override
    public Optional<TensorInfo> find(String name) {
      return Optional.of(info);
    }

    @Override
    public Map<String, String> config() {
      return Map.of();
    }

    @Override
    public List<SideFile> sideFiles() {
      return List.of();
    }

    @Override
    public void read(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException {
      throw new IOException("unreadable");
    }

    @Override
    public void close() {}
  }
}
