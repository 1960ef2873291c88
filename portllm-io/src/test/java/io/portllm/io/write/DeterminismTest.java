package io.portllm.io.write;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.io.Checkpoints;
import io.portllm.io.WriteOptions;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The bytes of a port depend on the values of its inputs and on the new base's files, and on nothing else. */
class DeterminismTest {
  @TempDir Path dir;

  private Trio trio;
  private Map<String, String> expected;
  private int outputs;

  @BeforeEach
  void portOnce() throws IOException {
    trio = Trio.of(DType.BF16);
    trio.newBase().resharded(Trio.names(), 2).saveTo(dir.resolve("newer"));
    expected = port(trio.base(), trio.fineTuned(), 2);
    assertFalse(expected.isEmpty());
  }

  private Map<String, String> port(TestModel base, TestModel tuned, int threads) throws IOException {
    Path run = dir.resolve("run" + outputs++);
    try (ModelVersion first = Checkpoints.open(base.saveTo(run.resolve("base")));
        ModelVersion second = Checkpoints.open(tuned.saveTo(run.resolve("tuned")));
        ModelVersion third = Checkpoints.open(dir.resolve("newer"))) {
      Checkpoints.write(Patch.from(second, first).applyTo(third), run.resolve("out"), WriteOptions.defaults().withThreads(threads));
    }
    return Trees.contents(run.resolve("out"));
  }

  @Test
  void twoRunsAreIdentical() throws IOException {
    assertEquals(expected, port(trio.base(), trio.fineTuned(), 2));
  }

  @Test
  void threadsChangeNothing() throws IOException {
    for (int threads : new int[] {1, 2, 7}) {
      assertEquals(expected, port(trio.base(), trio.fineTuned(), threads), threads + " threads");
    }
  }

  @Test
  void threadsChangeNothingAcrossManyChunks() throws IOException {
    TestModel base = new TestModel("b").random("w", DType.BF16, 1, 1, 3000, 1700).random("v", DType.F32, 2, 1, 3000, 500);
    TestModel tuned = new TestModel("t").random("w", DType.BF16, 3, 1, 3000, 1700).random("v", DType.F32, 4, 1, 3000, 500);
    for (int threads : new int[] {1, 2, 7}) {
      Path out = dir.resolve("threads" + threads).resolve("out.safetensors");
      Files.createDirectory(out.getParent());
      Checkpoints.write(Patch.from(tuned, base).applyTo(base), out, WriteOptions.defaults().withThreads(threads));
    }

    assertEquals(Trees.contents(dir.resolve("threads1")), Trees.contents(dir.resolve("threads2")));
    assertEquals(Trees.contents(dir.resolve("threads1")), Trees.contents(dir.resolve("threads7")));
  }

  @Test
  void shardsOfTheInputsChangeNothing() throws IOException {
    for (int files : new int[] {2, 3, 11}) {
      assertEquals(expected, port(trio.base().resharded(Trio.names(), files), trio.fineTuned(), 2), files + " files of the base");
      assertEquals(expected, port(trio.base(), trio.fineTuned().resharded(Trio.names(), files), 2), files + " files of the tuned");
    }
  }

  @Test
  void theOrderOfTheInputsTensorsChangesNothing() throws IOException {
    for (int seed = 0; seed < 3; seed++) {
      List<String> order = new ArrayList<>(Trio.names());
      Collections.shuffle(order, new Random(seed));
      assertEquals(expected, port(trio.base().resharded(order, 2), trio.fineTuned().resharded(order, 1), 2), order.toString());
    }
  }

  @Test
  void aPatchOnAPatchedModelCanBeWritten() throws IOException {
    Patch patch = Patch.from(trio.fineTuned(), trio.base());
    Checkpoints.write(patch.applyTo(patch.applyTo(trio.newBase())), dir.resolve("once.safetensors"));
    Checkpoints.write(patch.applyTo(trio.newBase()), dir.resolve("half.safetensors"));
    try (ModelVersion half = Checkpoints.open(dir.resolve("half.safetensors"))) {
      Checkpoints.write(patch.applyTo(half), dir.resolve("twice.safetensors"));
    }

    Map<String, String> files = Trees.contents(dir);
    assertEquals(files.get("once.safetensors"), files.get("twice.safetensors"));
    assertFalse(files.get("once.safetensors").equals(files.get("half.safetensors")));
  }
}
