package io.portllm.nd4j;

import io.portllm.TensorInfo;
import io.portllm.internal.text.Names;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.indexer.ByteIndexer;
import org.nd4j.linalg.api.ndarray.INDArray;

/**
 * The bytes of one array in C order, whatever its strides. Nothing is copied but what is asked for, and no value passes through a
 * floating-point register, so NaN payloads stay.
 */
final class ArrayTensor {
  private final TensorInfo info;
  private final INDArray array;
  private final int width;
  /** The number of trailing dimensions' elements that lie next to each other in memory. */
  private final long run;
  /** How many leading dimensions are stepped through run by run. */
  private final int outer;

  ArrayTensor(TensorInfo info, INDArray array) {
    this.info = info;
    this.array = array;
    this.width = info.dtype().bytes();
    int dimension = array.rank();
    long together = 1;
    while (dimension > 0 && (array.size(dimension - 1) == 1 || array.stride(dimension - 1) == together)) {
      dimension--;
      together *= array.size(dimension);
    }
    this.outer = dimension;
    this.run = together;
  }

  TensorInfo info() {
    return info;
  }

  /** Copies bytes from {@code offset} on until {@code destination} is full. */
  void read(long offset, ByteBuffer destination) {
    if (offset < 0 || offset % width != 0 || destination.remaining() % width != 0
        || offset > info.bytes() - destination.remaining()) {
      throw new IllegalArgumentException(
          "tensor " + Names.quote(info.name()) + ": range must be of whole elements within " + info.bytes() + " bytes but was "
              + destination.remaining() + " bytes from " + offset);
    }
    if (array.wasClosed()) {
      throw new IllegalStateException("tensor " + Names.quote(info.name()) + ": its array was closed");
    }
    if (!destination.hasRemaining()) {
      return;
    }
    BytePointer first = NativeMemory.firstElement(array);
    if (run == 1 && outer > 0) {
      gather(first, offset / width, destination);
    } else {
      copyRuns(first, offset / width, destination);
    }
  }

  private void copyRuns(BytePointer first, long element, ByteBuffer destination) {
    while (destination.hasRemaining()) {
      int bytes = (int) Math.min(destination.remaining(), (run - element % run) * width);
      destination.put(NativeMemory.bytes(first, (place(element / run) + element % run) * width, bytes));
      element += bytes / width;
    }
  }

  private void gather(BytePointer first, long element, ByteBuffer destination) {
    ByteIndexer memory = ByteIndexer.create(first.limit(span()));
    ByteBuffer target = destination.slice().order(ByteOrder.nativeOrder());
    while (target.hasRemaining()) {
      long from = place(element++) * width;
      switch (width) {
        case 1 -> target.put(memory.get(from));
        case 2 -> target.putShort(memory.getShort(from));
        case 4 -> target.putInt(memory.getInt(from));
        default -> target.putLong(memory.getLong(from));
      }
    }
    destination.position(destination.limit());
  }

  /** How many elements after the first one run {@code index} starts. */
  private long place(long index) {
    long place = 0;
    for (int dimension = outer - 1; dimension >= 0; dimension--) {
      place += index % array.size(dimension) * array.stride(dimension);
      index /= array.size(dimension);
    }
    return place;
  }

  private long span() {
    long last = 0;
    for (int dimension = 0; dimension < array.rank(); dimension++) {
      last += (array.size(dimension) - 1) * array.stride(dimension);
    }
    return (last + 1) * width;
  }
}
