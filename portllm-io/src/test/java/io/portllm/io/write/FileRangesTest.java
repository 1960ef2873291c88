package io.portllm.io.write;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.Rounding;
import io.portllm.Shard;
import io.portllm.io.Checkpoints;
import io.portllm.io.WriteReport;
import io.portllm.io.internal.write.FileRanges;
import io.portllm.io.internal.write.FileRanges.Range;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Ranges of weight files that are written apart. */
class FileRangesTest {
  @TempDir Path dir;

  @Test
  void rangesOfAnyLengthWrittenInAnyOrderAreTheFilesAndCountsOfOneProcess() throws IOException {
    Trio trio = Trio.of(DType.BF16);
    TestModel sharded = trio.newBase().resharded(trio.newBase().names(), 3);
    try (ModelVersion newBase = Checkpoints.open(sharded.saveTo(dir.resolve("newer")))) {
      ModelVersion ported = Patch.from(trio.fineTuned(), trio.base()).applyTo(newBase);
      WriteReport expected = Checkpoints.write(ported, dir.resolve("out"));
      for (long most : new long[] {1, 7, 100, 1000, 4096, Long.MAX_VALUE}) {
        assertSame(expected, ported, most);
      }
    }
  }

  /** Writes each range as another process would, with nothing in common with those before. */
  private void assertSame(WriteReport expected, ModelVersion ported, long most) throws IOException {
    List<Range> ranges = new ArrayList<>(FileRanges.of(ported).split(most));
    assertEquals(ranges, FileRanges.of(ported).split(most));
    List<byte[]> parts = new ArrayList<>(Collections.nCopies(ranges.size(), null));
    List<Integer> order = new ArrayList<>();
    for (int i = 0; i < ranges.size(); i++) {
      order.add(i);
    }
    Collections.shuffle(order, new Random(1));
    Map<String, Rounding> rounding = new HashMap<>();
    for (int number : order) {
      assertTrue(ranges.get(number).bytes() <= Math.max(most, 2), () -> ranges.get(number) + " of at most " + most);
      FileRanges files = FileRanges.of(ported);
      ByteArrayOutputStream out = new ByteArrayOutputStream();
      files.write(ranges.get(number), out);
      parts.set(number, out.toByteArray());
      files.rounding().forEach((tensor, counts) -> rounding.merge(tensor, counts, Rounding::plus));
    }
    assertEquals(expected.rounding(), rounding);
    for (int file = 0; file < ported.shards().size(); file++) {
      Shard shard = ported.shards().get(file);
      ByteArrayOutputStream whole = new ByteArrayOutputStream();
      for (int number = 0; number < ranges.size(); number++) {
        if (ranges.get(number).file() == file) {
          assertEquals(whole.size(), ranges.get(number).from());
          whole.writeBytes(parts.get(number));
        }
      }
      assertArrayEquals(Files.readAllBytes(dir.resolve("out").resolve(shard.fileName())), whole.toByteArray());
    }
    assertArrayEquals(
        Files.readAllBytes(dir.resolve("out/model.safetensors.index.json")), FileRanges.of(ported).index().orElseThrow());
  }

  @Test
  void aRangeHasAtLeastOneByte() throws IOException {
    FileRanges files = FileRanges.of(Trio.of(DType.F32).base());
    assertThrows(IllegalArgumentException.class, () -> files.split(0));
  }
}
