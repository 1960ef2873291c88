package io.portllm.nd4j;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.bytedeco.javacpp.BytePointer;
import org.nd4j.linalg.api.concurrency.AffinityManager.Location;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;

/** The bytes of arrays, where they lie. Good for as long as the array is open. */
final class NativeMemory {
  private NativeMemory() {}

  /** The array's first element, in host memory brought up to date. */
  static BytePointer firstElement(INDArray array) {
    Nd4j.getAffinityManager().ensureLocation(array, Location.HOST);
    // Of a view, the pointer is the whole buffer's; addressPointer adds the view's offset.
    return new BytePointer(array.data().addressPointer());
  }

  /** Bytes {@code from} to {@code from + count} after {@code first}, without copying. */
  static ByteBuffer bytes(BytePointer first, long from, int count) {
    // A byte buffer starts at the pointer's address, not at its position, so the address is moved.
    return first.getPointer(from).limit(count).asByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
  }

  /** Tells the backend that the host's memory of the array was written to. */
  static void written(INDArray array) {
    Nd4j.getAffinityManager().tagLocation(array, Location.HOST);
  }
}
