package io.portllm.nd4j;

import io.portllm.DType;
import io.portllm.Merger;
import io.portllm.Rounding;
import io.portllm.internal.kernel.Floats;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;
import org.bytedeco.javacpp.BytePointer;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.memory.MemoryWorkspace;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.indexing.NDArrayIndex;

/**
 * The arithmetic of merging on ND4J arrays, on whatever backend the application has.
 *
 * <p>{@snippet :
 * MergeOptions options = MergeOptions.defaults().withMerger(Nd4jMerger.create());
 * ModelVersion ported = patch.applyTo(newBase, options);
 * }
 *
 * <p>Stored values and differences give the same bits as {@link Merger#scalar}. Low-rank products are ND4J's matrix products, which
 * may add in another order or fuse: a change then differs by at most {@code |factor| · rank · 2⁻²³ · Σₖ |left[k] · right[k]|}, with
 * 2⁻⁵² for F64 output. A merged weight of BF16, F16 or F8 moves by one unit in the last place at most, unless it is far smaller than
 * the terms; F32 and F64 weights move by more where the change is about as large as the weight.
 *
 * <p>Holds about three times a chunk's elements in float32, off heap, while it merges. Safe for use by many threads.
 */
public final class Nd4jMerger implements Merger {
  private static final int BLOCK = 1024;

  private Nd4jMerger() {}

  /**
   * A merger on the backend that is on the class path.
   *
   * @throws IllegalStateException if there is none
   */
  public static Nd4jMerger create() {
    Nd4jBackend.require();
    return new Nd4jMerger();
  }

  @Override
  @SuppressWarnings("try") // The workspace scope acts by being open.
  public Rounding merge(Chunk chunk, List<Operand> operands) {
    if (chunk.elements() == 0 || operands.isEmpty()) {
      return Rounding.NONE;
    }
    DType dtype = chunk.dtype() == DType.F64 ? DType.F64 : DType.F32;
    DataType type = dtype == DType.F64 ? DataType.DOUBLE : DataType.FLOAT;
    try (MemoryWorkspace none = Nd4j.getMemoryManager().scopeOutOfWorkspaces();
        INDArray change = Nd4j.zeros(type, chunk.elements())) {
      for (Operand operand : operands) {
        if (operand.elements() > 0) {
          add(operand, change);
        }
      }
      // ND4J's rounding loses NaNs and counts nothing, so the last step, change onto weight, is the scalar merger's.
      ByteBuffer values = NativeMemory.bytes(NativeMemory.firstElement(change), 0, chunk.elements() * dtype.bytes());
      return Merger.scalar().merge(chunk, List.of(new Values(0, chunk.elements(), 1, dtype, values)));
    }
  }

  private static void add(Operand operand, INDArray change) {
    INDArray part = change.get(NDArrayIndex.interval(operand.start(), operand.start() + operand.elements()));
    if (operand instanceof LowRank product) {
      addProduct(product, part);
      return;
    }
    try (INDArray term = evaluate(operand, change.dataType())) {
      addScaled(term, operand.factor(), part);
    }
  }

  private static void addScaled(INDArray term, double factor, INDArray part) {
    if (factor != 1) {
      term.muli(factor);
    }
    part.addi(term);
  }

  private static INDArray evaluate(Operand operand, DataType type) {
    if (operand instanceof Values values) {
      return widened(values.dtype(), values.values(), values.elements(), type);
    }
    Difference difference = (Difference) operand;
    boolean wide = difference.tunedType() == DType.F64 || difference.baseType() == DType.F64;
    DataType common = wide ? DataType.DOUBLE : DataType.FLOAT;
    INDArray tuned = widened(difference.tunedType(), difference.tuned(), difference.elements(), common);
    try (INDArray base = widened(difference.baseType(), difference.base(), difference.elements(), common)) {
      tuned.subi(base);
    }
    if (common == type) {
      return tuned;
    }
    try (tuned) {
      return tuned.castTo(type);
    }
  }

  private static void addProduct(LowRank operand, INDArray part) {
    if (operand.rank() == 0) {
      return;
    }
    long first = operand.column();
    long last = first + operand.elements();
    int rows = Math.toIntExact((last - 1) / operand.columns() + 1);
    float[] left = Arrays.copyOf(operand.left(), rows * operand.rank());
    DataType type = part.dataType();
    try (INDArray b = matrix(left, rows, operand.rank(), type);
        INDArray a = matrix(operand.right(), operand.rank(), operand.columns(), type);
        INDArray product = Nd4j.createUninitialized(type, rows, operand.columns())) {
      b.mmuli(a, product);
      INDArray run = product.reshape(product.length()).get(NDArrayIndex.interval(first, last));
      addScaled(run, operand.factor(), part);
    }
  }

  private static INDArray matrix(float[] values, int rows, int columns, DataType type) {
    INDArray floats = Nd4j.create(values, new long[] {rows, columns}, 'c');
    if (type == DataType.FLOAT) {
      return floats;
    }
    try (floats) {
      return floats.castTo(type);
    }
  }

  /** Stored elements as an array of FLOAT or DOUBLE. ND4J has no F8, and its own casts are slower. */
  private static INDArray widened(DType dtype, ByteBuffer source, int count, DataType type) {
    INDArray array = Nd4j.createUninitialized(type, count);
    BytePointer first = NativeMemory.firstElement(array);
    ByteBuffer target = NativeMemory.bytes(first, 0, count * type.width());
    int[] bits = new int[BLOCK];
    float[] floats = new float[BLOCK];
    double[] doubles = new double[BLOCK];
    for (int start = 0; start < count; start += BLOCK) {
      int length = Math.min(BLOCK, count - start);
      if (type == DataType.DOUBLE) {
        Floats.read(dtype, source, start, doubles, length, bits, floats);
        target.asDoubleBuffer().put(start, doubles, 0, length);
      } else {
        Floats.read(dtype, source, start, floats, length, bits);
        target.asFloatBuffer().put(start, floats, 0, length);
      }
    }
    NativeMemory.written(array);
    return array;
  }
}
