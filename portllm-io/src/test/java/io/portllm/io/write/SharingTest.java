package io.portllm.io.write;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.TensorInfo;
import io.portllm.io.Checkpoints;
import io.portllm.io.PatchFile;
import io.portllm.io.WriteOptions;
import io.portllm.io.internal.gguf.GgufBytes;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.lang.management.BufferPoolMXBean;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Many threads on the same models: reading, interrupted and closed under them; and nothing held in the end. */
class SharingTest {
  private static final int THREADS = 64;

  /** Ports of the soak, and for how many minutes it goes on at least: {@code -Dportllm.soakMinutes=120} runs for two hours. */
  private static final int ROUNDS = Integer.getInteger("portllm.soak", 60);

  private static final int MINUTES = Integer.getInteger("portllm.soakMinutes", 0);

  @TempDir Path dir;

  private interface Work {
    void run(int number) throws Exception;
  }

  /** Runs {@code work} in many threads at once and gives what they threw. */
  private static List<Throwable> together(Work work) throws InterruptedException {
    ConcurrentLinkedQueue<Throwable> thrown = new ConcurrentLinkedQueue<>();
    CountDownLatch start = new CountDownLatch(1);
    List<Thread> threads = new ArrayList<>();
    for (int i = 0; i < THREADS; i++) {
      int number = i;
      Thread thread =
          new Thread(
              () -> {
                try {
                  start.await();
                  work.run(number);
                } catch (Throwable e) {
                  thrown.add(e);
                }
              });
      threads.add(thread);
      thread.start();
    }
    start.countDown();
    for (Thread thread : threads) {
      thread.join();
    }
    return List.copyOf(thrown);
  }

  /** A sharded folder and a GGUF file, open. */
  private List<ModelVersion> models() throws IOException {
    Path folder = Trio.of(DType.F32).base().resharded(Trio.names(), 5).saveTo(dir.resolve("m"));
    Path gguf = GgufBytes.everything(3).write(dir.resolve("m.gguf"));
    return List.of(Checkpoints.open(folder), Checkpoints.open(gguf));
  }

  private static Map<String, byte[]> contents(ModelVersion model) throws IOException {
    Map<String, byte[]> all = new TreeMap<>();
    for (TensorInfo tensor : model.tensors()) {
      ByteBuffer bytes = ByteBuffer.allocate((int) tensor.bytes());
      model.read(tensor, 0, bytes);
      all.put(tensor.name(), bytes.array());
    }
    return all;
  }

  private static void readAny(ModelVersion model, Map<String, byte[]> expected, Random random) throws IOException {
    TensorInfo tensor = model.tensors().get(random.nextInt(model.tensors().size()));
    ByteBuffer bytes = ByteBuffer.allocate((int) tensor.bytes());
    model.read(tensor, 0, bytes);
    assertArrayEquals(expected.get(tensor.name()), bytes.array(), tensor.name());
  }

  @Test
  void interruptedThreadsHarmNoOther() throws Exception {
    for (ModelVersion model : models()) {
      try (model) {
        Map<String, byte[]> expected = contents(model);
        AtomicInteger interrupted = new AtomicInteger();
        List<Throwable> thrown =
            together(
                number -> {
                  Random random = new Random(number);
                  for (int i = 0; i < 200; i++) {
                    // One in eight is interrupted before each of its reads, at any moment of the others' reads.
                    if (number % 8 == 0) {
                      Thread.currentThread().interrupt();
                      assertThrows(InterruptedIOException.class, () -> readAny(model, expected, random));
                      assertTrue(Thread.interrupted());
                      interrupted.incrementAndGet();
                    } else {
                      readAny(model, expected, random);
                    }
                  }
                });
        assertEquals(List.of(), thrown);
        assertEquals(200 * THREADS / 8, interrupted.get());
      }
    }
    assertEquals(List.of(), Trees.openFiles(dir));
  }

  /** Interrupts that arrive in the middle of a read close the channel that all share. */
  @Test
  void interruptsFromOutsideHarmNoOther() throws Exception {
    for (ModelVersion model : models()) {
      try (model) {
        Map<String, byte[]> expected = contents(model);
        ConcurrentLinkedQueue<Thread> victims = new ConcurrentLinkedQueue<>();
        AtomicInteger done = new AtomicInteger();
        Thread interrupter =
            new Thread(
                () -> {
                  while (done.get() < THREADS) {
                    victims.forEach(Thread::interrupt);
                    Thread.onSpinWait();
                  }
                });
        interrupter.start();
        List<Throwable> thrown =
            together(
                number -> {
                  try {
                    if (number % 16 == 0) {
                      victims.add(Thread.currentThread());
                    }
                    Random random = new Random(number);
                    for (int i = 0; i < 100; i++) {
                      try {
                        readAny(model, expected, random);
                      } catch (InterruptedIOException e) {
                        assertEquals(0, number % 16);
                        Thread.interrupted();
                      }
                    }
                  } finally {
                    victims.remove(Thread.currentThread());
                    done.incrementAndGet();
                  }
                });
        interrupter.join();
        assertEquals(List.of(), thrown);
      }
    }
    assertEquals(List.of(), Trees.openFiles(dir));
  }

  @Test
  void aModelThatIsClosedUnderItsReadersFailsClearly() throws Exception {
    for (ModelVersion model : models()) {
      Map<String, byte[]> expected = contents(model);
      CountDownLatch someRead = new CountDownLatch(THREADS);
      List<Throwable> thrown =
          together(
              number -> {
                Random random = new Random(number);
                if (number == 0) {
                  someRead.countDown();
                  someRead.await();
                  model.close();
                  model.close();
                  return;
                }
                readAny(model, expected, random);
                someRead.countDown();
                // It goes on until it is closed.
                IllegalStateException closed =
                    assertThrows(
                        IllegalStateException.class,
                        () -> {
                          while (true) {
                            readAny(model, expected, random);
                          }
                        });
                assertTrue(closed.getMessage().contains("closed"), closed::getMessage);
              });
      assertEquals(List.of(), thrown);
    }
    assertEquals(List.of(), Trees.openFiles(dir));
  }

  private static long directBytes() {
    return ManagementFactory.getPlatformMXBeans(BufferPoolMXBean.class).stream().mapToLong(BufferPoolMXBean::getMemoryUsed).sum();
  }

  /** All that this process has open, and the bytes of memory it takes; nothing where the system does not tell. */
  private static String held() throws IOException {
    Path self = Path.of("/proc/self");
    if (!Files.isDirectory(self)) {
      return "";
    }
    String resident = Files.readAllLines(self.resolve("status")).stream().filter(line -> line.startsWith("VmRSS")).findFirst().orElse("");
    return handles() + " handles, " + resident.replaceAll("\\s+", " ") + ", " + (directBytes() >> 20) + " MB direct";
  }

  private static long handles() throws IOException {
    if (!Files.isDirectory(Path.of("/proc/self/fd"))) {
      return 0;
    }
    try (Stream<Path> paths = Files.list(Path.of("/proc/self/fd"))) {
      return paths.count();
    }
  }

  private void port(Path tuned, Path base, Path newer, Path patch, int round) throws IOException {
    AtomicInteger asked = new AtomicInteger();
    WriteOptions options = WriteOptions.defaults().withThreads(2).overwriting();
    try (ModelVersion one = Checkpoints.open(tuned);
        ModelVersion two = Checkpoints.open(base);
        ModelVersion three = Checkpoints.open(newer)) {
      PatchFile.write(Patch.from(one, two), patch, options);
      try (PatchFile stored = PatchFile.open(patch)) {
        ModelVersion ported = stored.patch().applyTo(three);
        Checkpoints.write(ported, dir.resolve("out"), options.recording());
        // Every other round one is cancelled too.
        if (round % 2 == 0) {
          assertThrows(
              CancellationException.class,
              () -> Checkpoints.write(ported, dir.resolve("out"), options.cancelledWhen(() -> asked.incrementAndGet() > 1)));
        }
      }
    }
  }

  @Test
  void portsHoldNeitherHandlesNorMemory() throws Exception {
    Trio trio = Trio.of(DType.BF16);
    Path base = trio.base().saveTo(dir.resolve("base"));
    Path tuned = trio.fineTuned().saveTo(dir.resolve("tuned"));
    Path newer = trio.newBase().resharded(Trio.names(), 3).saveTo(dir.resolve("newer"));
    Path patch = dir.resolve("p.patch.safetensors");
    long most = 0;
    long handles = 0;
    long end = System.nanoTime() + TimeUnit.MINUTES.toNanos(MINUTES);
    int rounds = 0;
    for (int round = 0; round < ROUNDS || System.nanoTime() < end; round++) {
      rounds++;
      if (round == Math.min(ROUNDS - 1, 50)) {
        // Jars and the like are open by now.
        handles = handles();
      }
      if (round % 500 == 50) {
        System.getLogger(SharingTest.class.getName()).log(System.Logger.Level.INFO, "after " + round + " rounds: " + held());
      }
      port(tuned, base, newer, patch, round);
      assertEquals(List.of(), Trees.openFiles(dir));
      most = Math.max(most, directBytes());
    }
    long held = directBytes();
    for (int i = 0; i < 100 && held > 64 << 20; i++) {
      // Buffers are freed some time after they were collected.
      System.gc();
      Thread.sleep(20);
      held = directBytes();
    }
    System.getLogger(SharingTest.class.getName())
        .log(System.Logger.Level.INFO, rounds + " rounds; " + held() + " in the end, " + (most >> 20) + " MB direct at most");
    assertTrue(handles() <= handles, handles + " handles became " + handles());
    // What all rounds together allocate is some 50 MB for each.
    assertTrue(held <= 64 << 20, held + " bytes are held");
    assertEquals(List.of("base", "newer", "out", "p.patch.safetensors", "tuned"), Trees.names(dir));
    assertTrue(Thread.getAllStackTraces().keySet().stream().noneMatch(thread -> thread.getName().startsWith("portllm-")));
  }
}
