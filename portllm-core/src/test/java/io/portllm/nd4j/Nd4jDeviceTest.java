package io.portllm.nd4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Map;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.api.ops.executioner.OpExecutioner.ExecutionerType;
import org.nd4j.linalg.factory.Nd4j;

/** Arrays in the memory of a GPU: what there is to test without one. */
class Nd4jDeviceTest {
  @Test
  void arraysInHostMemoryAreRefusedWithTheBackendsName() {
    if (Nd4j.getExecutioner().type() == ExecutionerType.CUDA) {
      Assumptions.abort("the backend has a GPU");
    }
    try (INDArray array = Nd4j.zeros(DataType.FLOAT, 4, 4)) {
      IllegalStateException refused = assertThrows(IllegalStateException.class, () -> Nd4jDevice.addresses(Map.of("w", array)));
      assertTrue(refused.getMessage().contains("CpuBackend") && refused.getMessage().contains("host memory"), refused.getMessage());
    }
  }

  @Test
  void wholeArraysInCOrderAreTakenOnAGpu() {
    if (Nd4j.getExecutioner().type() != ExecutionerType.CUDA) {
      Assumptions.abort("the backend keeps arrays in host memory");
    }
    try (INDArray array = Nd4j.zeros(DataType.FLOAT, 4, 4)) {
      assertEquals(0, Nd4jDevice.addresses(Map.of("w", array)).get("w") % 16);
      assertThrows(IllegalArgumentException.class, () -> Nd4jDevice.addresses(Map.of("w", array.getRow(1))));
      assertThrows(IllegalArgumentException.class, () -> Nd4jDevice.addresses(Map.of("w", array.transpose())));
    }
  }
}
