package io.portllm.bench.real;

import io.portllm.DType;
import io.portllm.Shape;
import io.portllm.TensorInfo;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * One float32 weight of an ONNX graph.
 *
 * @param name its name in the PyTorch model
 * @param initializer its name in the graph
 * @param transposed whether the graph holds the transpose of a matrix, as it does for the right-hand sides of MatMul
 * @param shape its dimensions in the graph
 * @param view its values in the graph's order, little-endian, where the graph has them
 */
record OnnxWeight(String name, String initializer, boolean transposed, Shape shape, ByteBuffer view) {
  /** The weight as the PyTorch model has it. */
  TensorInfo info() {
    return new TensorInfo(name, DType.F32, transposed ? Shape.of(shape.dimension(1), shape.dimension(0)) : shape);
  }

  /** The graph's bytes; writing to them changes the loaded graph, not its file. */
  ByteBuffer data() {
    return view.duplicate().order(ByteOrder.LITTLE_ENDIAN);
  }

  /**
   * Reads elements of the weight as the PyTorch model has it, where the graph holds the transpose.
   *
   * @param first the first element
   * @param destination little-endian; filled from its position to its limit
   */
  void getTransposed(int first, ByteBuffer destination) {
    ByteBuffer from = data();
    int element = first;
    for (; destination.remaining() >= 4; element++) {
      destination.putInt(from.getInt(4 * inGraph(element)));
    }
    for (int i = 0; destination.hasRemaining(); i++) {
      destination.put(from.get(4 * inGraph(element) + i));
    }
  }

  /**
   * Writes the whole weight as the PyTorch model has it, where the graph holds the transpose.
   *
   * @param source little-endian
   */
  void putTransposed(ByteBuffer source) {
    ByteBuffer to = data();
    for (int element = 0; source.hasRemaining(); element++) {
      to.putInt(4 * inGraph(element), source.getInt());
    }
  }

  private int inGraph(int element) {
    int columns = (int) shape.dimension(0);
    int rows = (int) shape.dimension(1);
    return element % columns * rows + element / columns;
  }
}
