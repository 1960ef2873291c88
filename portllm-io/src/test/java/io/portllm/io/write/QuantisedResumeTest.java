package io.portllm.io.write;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.Shape;
import io.portllm.internal.patch.OneTensor;
import io.portllm.internal.quant.BlockCodec;
import io.portllm.internal.quant.BlockCodecs;
import io.portllm.io.Checkpoints;
import io.portllm.io.WriteOptions;
import io.portllm.io.WriteReport;
import io.portllm.io.internal.gguf.GgufBytes;
import io.portllm.io.internal.gguf.ValueType;
import io.portllm.io.internal.write.CheckpointWriter;
import io.portllm.io.internal.write.Disk;
import io.portllm.io.write.FaultyDisk.Fault;
import io.portllm.io.write.FaultyDisk.Halt;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A port onto a quantised GGUF model of several files goes on with what was finished: its bytes, its counts, and the sums of its errors. */
class QuantisedResumeTest {
  private static final int ROWS = 8;
  private static final int COLUMNS = 64;
  private static final List<String> SOURCES =
      List.of("model.layers.0.self_attn.o_proj.weight", "model.layers.0.mlp.up_proj.weight", "model.layers.1.mlp.up_proj.weight");
  private static final List<DType> TYPES = List.of(DType.Q4_0, DType.Q8_0, DType.Q5_1);

  @TempDir Path dir;

  private static float[] random(long seed, float size) {
    Random random = new Random(seed);
    float[] values = new float[ROWS * COLUMNS];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian() * size;
    }
    return values;
  }

  private static byte[] quantised(DType type, float[] values) {
    BlockCodec codec = BlockCodecs.of(type);
    ByteBuffer blocks = ByteBuffer.allocate(values.length / type.blockElements() * type.blockBytes()).order(ByteOrder.LITTLE_ENDIAN);
    codec.quantise(values, 0, values.length, blocks, 0);
    return blocks.array();
  }

  private Path newBase() throws IOException {
    List<String> names = List.of("blk.0.attn_output.weight", "blk.0.ffn_up.weight", "blk.1.ffn_up.weight");
    for (int part = 0; part < names.size(); part++) {
      GgufBytes file = new GgufBytes();
      if (part == 0) {
        file.entry("general.architecture", ValueType.STRING, "llama")
            .entry("llama.block_count", ValueType.U32, 2)
            .entry("llama.attention.head_count", ValueType.U32, 4)
            .entry("llama.attention.head_count_kv", ValueType.U32, 4);
      }
      file.entry("split.no", ValueType.U16, (short) part)
          .entry("split.tensors.count", ValueType.I32, names.size())
          .entry("split.count", ValueType.U16, (short) names.size())
          .tensor(names.get(part), TYPES.get(part), quantised(TYPES.get(part), random(part, 0.02f)), ROWS, COLUMNS)
          .write(dir.resolve("newer").resolve("m-0000" + (part + 1) + "-of-00003.gguf"));
    }
    return dir.resolve("newer");
  }

  private static Patch patch() {
    Map<String, Delta> deltas = new LinkedHashMap<>();
    for (int i = 0; i < SOURCES.size(); i++) {
      deltas.put(SOURCES.get(i), new Delta.Dense(OneTensor.of(SOURCES.get(i), Shape.of(ROWS, COLUMNS), random(10 + i, 0.001f))));
    }
    return Patch.of(deltas, Optional.empty(), "test");
  }

  private static WriteReport write(Path newBase, Path out, WriteOptions options, Disk disk) throws IOException {
    try (ModelVersion model = Checkpoints.open(newBase)) {
      return CheckpointWriter.write(patch().applyTo(model), out, options.withThreads(1).recording(), disk);
    }
  }

  @Test
  void whereverItDiesTheNextRunGivesTheSameBytesCountsAndSums() throws IOException {
    Path newBase = newBase();
    FaultyDisk unharmed = new FaultyDisk(Fault.FAIL, Integer.MAX_VALUE);
    Path plain = Files.createDirectory(dir.resolve("plain")).resolve("out");
    WriteReport expected = write(newBase, plain, WriteOptions.defaults(), unharmed);
    Map<String, String> whole = Trees.contents(plain.getParent());
    assertEquals(3, expected.requantisation().size());
    assertTrue(expected.requantisation().values().stream().allMatch(sums -> sums.changedBlocks() > 0));

    WriteOptions resuming = WriteOptions.defaults().resuming("patch", newBase);
    FaultyDisk counting = new FaultyDisk(Fault.FAIL, Integer.MAX_VALUE);
    write(newBase, Files.createDirectory(dir.resolve("counted")).resolve("out"), resuming, counting);
    Set<Integer> takenOver = new TreeSet<>();
    for (int turn = 0; turn < counting.operations().lastIndexOf("move"); turn++) {
      Path out = Files.createDirectory(dir.resolve("out" + turn)).resolve("out");
      FaultyDisk dying = new FaultyDisk(Fault.HALT, turn);
      assertThrows(Halt.class, () -> write(newBase, out, resuming, dying));
      WriteReport report = write(newBase, out, resuming, new FaultyDisk(Fault.FAIL, Integer.MAX_VALUE));
      // Death may come before there is a journal.
      assertTrue(report.notTakenOver().isEmpty() || report.takenOver().isEmpty() && report.notTakenOver().get(0).contains("journal"));
      assertEquals(expected.rounding(), report.rounding());
      assertEquals(expected.requantisation(), report.requantisation());
      assertEquals(whole, Trees.contents(out.getParent()));
      takenOver.add(report.takenOver().size());
    }
    assertEquals(Set.of(0, 1, 2, 3), takenOver);
  }
}
