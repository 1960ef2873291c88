package io.portllm.nd4j;

import com.google.common.collect.ImmutableBiMap;
import io.portllm.DType;
import java.util.Optional;
import org.nd4j.linalg.api.buffer.DataType;

/** Which ND4J type stores the elements of which type of a checkpoint, bit for bit. */
final class ArrayTypes {
  private static final ImmutableBiMap<DataType, DType> TYPES = ImmutableBiMap.<DataType, DType>builder()
      .put(DataType.BOOL, DType.BOOL)
      .put(DataType.INT8, DType.I8)
      .put(DataType.UINT8, DType.U8)
      .put(DataType.INT16, DType.I16)
      .put(DataType.UINT16, DType.U16)
      .put(DataType.INT32, DType.I32)
      .put(DataType.UINT32, DType.U32)
      .put(DataType.INT64, DType.I64)
      .put(DataType.UINT64, DType.U64)
      .put(DataType.FLOAT16, DType.F16)
      .put(DataType.BFLOAT16, DType.BF16)
      .put(DataType.FLOAT, DType.F32)
      .put(DataType.DOUBLE, DType.F64)
      .build();

  private ArrayTypes() {}

  static Optional<DType> dtype(DataType type) {
    return Optional.ofNullable(TYPES.get(type));
  }

  static Optional<DataType> dataType(DType dtype) {
    return Optional.ofNullable(TYPES.inverse().get(dtype));
  }
}
