package io.portllm.io.write;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.portllm.ModelVersion;
import io.portllm.TensorInfo;
import io.portllm.io.Checkpoints;
import io.portllm.io.WriteOptions;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Memory does not bound what can be written. */
class LargeTensorTest {
  private static final long MIB = 1 << 20;

  @TempDir Path dir;

  @Test
  void aTensorLargerThanTheHeapIsWritten() throws IOException {
    long bytes = Runtime.getRuntime().maxMemory() / (4 * MIB) * (4 * MIB) + 64 * MIB + 8;
    assumeTrue(bytes <= 1024 * MIB, "the heap is too large for this test; run it with a smaller -Xmx");
    write(bytes);
  }

  @Test
  void positionsBeyondFourGibibytesAreRight() throws IOException {
    assumeTrue(Boolean.getBoolean("portllm.large"), "writes 4.3 GB; set -Dportllm.large=true");
    write((4096 + 256) * MIB + 8);
  }

  private void write(long bytes) throws IOException {
    assumeTrue(Files.getFileStore(dir).getUsableSpace() > 2 * bytes, "not enough room on the disk");
    AtomicInteger reads = new AtomicInteger();
    Path out = dir.resolve("out.safetensors");

    Checkpoints.write(new ComputedModel(bytes, reads), out, WriteOptions.defaults().withThreads(2));

    assertTrue(reads.get() >= bytes / (4 * MIB), "read in " + reads + " pieces");
    try (ModelVersion written = Checkpoints.open(out)) {
      TensorInfo tensor = written.tensors().get(0);
      assertEquals(bytes, tensor.bytes());
      ByteBuffer element = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN);
      Random random = new Random(1);
      for (int i = 0; i < 20_000; i++) {
        long index = i == 0 ? bytes / 8 - 1 : random.nextLong(bytes / 8);
        written.read(tensor, index * 8, element.clear());
        assertEquals(ComputedModel.element(index), element.getLong(0), "element " + index);
      }
    }
  }
}
