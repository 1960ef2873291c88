package io.portllm.io.write;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.DType;
import io.portllm.Fingerprint;
import io.portllm.ModelVersion;
import io.portllm.io.Checkpoints;
import io.portllm.io.WriteOptions;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Other writers of the same target, alive and dead. */
class RivalsTest {
  private static final String DEAD = ".portllm-4194305-1f";

  @TempDir Path dir;

  private final Trio trio = Trio.of(DType.F32);

  private void assertModel(ModelVersion expected, Path path) throws IOException {
    try (ModelVersion found = Checkpoints.open(path)) {
      assertEquals(Fingerprint.of(expected), Fingerprint.of(found));
    }
  }

  @Test
  void whatADeadProcessLeftUnfinishedIsDeleted() throws IOException {
    Files.writeString(dir.resolve(".out.safetensors" + DEAD + ".tmp"), "half a file");
    trio.newBase().side("sub/x", "y").saveTo(dir.resolve(".out" + DEAD + ".tmp"));
    Files.writeString(dir.resolve(".out.portllm.lock"), "");

    Checkpoints.write(trio.base(), dir.resolve("out.safetensors"));
    Checkpoints.write(trio.base(), dir.resolve("out"));

    assertEquals(List.of("out", "out.safetensors"), Trees.names(dir));
    assertModel(trio.base(), dir.resolve("out"));
  }

  @Test
  void onlyOwnLeftoversOfThisTargetAreDeleted() throws IOException {
    List<String> others =
        List.of(
            ".other" + DEAD + ".tmp",
            ".out.portllm-mine.tmp",
            ".out.portllm-1-2.tmp.bak",
            ".out.portllm-1-zz.tmp",
            // That of a target whose name begins like ours.
            ".out.portllm-2" + DEAD + ".tmp",
            "out" + DEAD + ".tmp");
    for (String name : others) {
      Files.writeString(dir.resolve(name), "not ours");
    }

    Checkpoints.write(trio.base(), dir.resolve("out"));

    List<String> expected = new ArrayList<>(others);
    expected.add("out");
    assertEquals(expected.stream().sorted().toList(), Trees.names(dir));
  }

  @Test
  void anOldFolderThatADeadProcessPutAsideComesBack() throws IOException {
    trio.newBase().saveTo(dir.resolve(".out" + DEAD + ".old"));
    trio.fineTuned().saveTo(dir.resolve(".out" + DEAD + ".tmp"));

    assertThrows(FileAlreadyExistsException.class, () -> Checkpoints.write(trio.base(), dir.resolve("out")));

    assertEquals(List.of("out"), Trees.names(dir));
    assertModel(trio.newBase(), dir.resolve("out"));

    Checkpoints.write(trio.base(), dir.resolve("out"), WriteOptions.defaults().overwriting());

    assertEquals(List.of("out"), Trees.names(dir));
    assertModel(trio.base(), dir.resolve("out"));
  }

  @Test
  void anOldFolderComesBackInPlaceOfAnEmptyOne() throws IOException {
    trio.newBase().saveTo(dir.resolve(".out" + DEAD + ".old"));
    Files.createDirectory(dir.resolve("out"));

    assertThrows(FileAlreadyExistsException.class, () -> Checkpoints.write(trio.base(), dir.resolve("out")));

    assertModel(trio.newBase(), dir.resolve("out"));
  }

  @Test
  void anOldFolderThatWasReplacedIsDeleted() throws IOException {
    trio.newBase().saveTo(dir.resolve(".out" + DEAD + ".old"));
    trio.fineTuned().saveTo(dir.resolve("out"));

    Checkpoints.write(trio.base(), dir.resolve("out"), WriteOptions.defaults().overwriting());

    assertEquals(List.of("out"), Trees.names(dir));
    assertModel(trio.base(), dir.resolve("out"));
  }

  @Test
  void aLeftoverThatIsALinkIsDeletedAndNotFollowed() throws IOException {
    Path elsewhere = trio.newBase().saveTo(dir.resolve("elsewhere"));
    Files.createSymbolicLink(dir.resolve(".out" + DEAD + ".tmp"), elsewhere);
    Map<String, String> before = Trees.contents(elsewhere);

    Checkpoints.write(trio.base(), dir.resolve("out"));

    assertEquals(List.of("elsewhere", "out"), Trees.names(dir));
    assertEquals(before, Trees.contents(elsewhere));
  }

  @Test
  void aLockThatIsALinkIsNotFollowed() throws IOException {
    Path precious = Files.writeString(dir.resolve("precious"), "data");
    Files.createSymbolicLink(dir.resolve(".out.portllm.lock"), precious);

    assertThrows(IOException.class, () -> Checkpoints.write(trio.base(), dir.resolve("out")));

    assertEquals("data", Files.readString(precious));
    assertTrue(Files.notExists(dir.resolve("out")));
  }

  @Test
  void aSecondThreadIsRefusedWhileTheFirstWrites() throws Exception {
    Path alias = Files.createSymbolicLink(Files.createDirectory(dir.resolve("links")).resolve("alias"), dir);
    for (String name : List.of("out", "out.safetensors")) {
      CountDownLatch started = new CountDownLatch(1);
      CountDownLatch goOn = new CountDownLatch(1);
      AtomicReference<Throwable> failure = new AtomicReference<>();
      TestModel slow = Trio.of(DType.F32).base();
      slow.onRead(
          (tensor, offset) -> {
            started.countDown();
            try {
              goOn.await();
            } catch (InterruptedException e) {
              throw new AssertionError(e);
            }
          });
      Thread first =
          new Thread(
              () -> {
                try {
                  Checkpoints.write(slow, dir.resolve(name));
                } catch (IOException | RuntimeException e) {
                  failure.set(e);
                }
              });
      first.start();
      started.await();

      for (Path path : List.of(dir.resolve(name), alias.resolve(name))) {
        IOException refusal =
            assertThrows(IOException.class, () -> Checkpoints.write(trio.newBase(), path, WriteOptions.defaults().overwriting()));
        assertEquals("[" + path + "] is being written by another thread", refusal.getMessage());
        // The refused try must not have ended the lock that keeps other processes away.
        assertEquals("taken", lockInOtherProcess(dir.resolve("." + name + ".portllm.lock"), false));
      }
      goOn.countDown();
      first.join();

      assertEquals(null, failure.get());
      assertModel(trio.base(), dir.resolve(name));
    }
    assertEquals(List.of("links", "out", "out.safetensors"), Trees.names(dir));
  }

  @Test
  void anotherProcessKeepsTheTargetUntilItDies() throws Exception {
    Path lock = dir.resolve(".out.portllm.lock");
    Process other = start(lock, true);
    try {
      BufferedReader said = new BufferedReader(new InputStreamReader(other.getInputStream(), StandardCharsets.UTF_8));
      assertEquals("locked", said.readLine());

      IOException refusal = assertThrows(IOException.class, () -> Checkpoints.write(trio.base(), dir.resolve("out")));
      assertEquals("[" + dir.resolve("out") + "] is being written by another process", refusal.getMessage());
      assertEquals(List.of(lock.getFileName().toString()), Trees.names(dir));
    } finally {
      other.destroyForcibly().waitFor();
    }

    Checkpoints.write(trio.base(), dir.resolve("out"));

    assertEquals(List.of("out"), Trees.names(dir));
  }

  @Test
  void writersThatRaceLeaveOneWholeOutput() throws Exception {
    Path out = dir.resolve("out");
    int writers = 4;
    AtomicInteger written = new AtomicInteger();
    List<Throwable> failures = new ArrayList<>();
    List<Thread> threads = new ArrayList<>();
    for (int i = 0; i < writers; i++) {
      TestModel model = i % 2 == 0 ? trio.base() : trio.newBase();
      threads.add(
          new Thread(
              () -> {
                for (int round = 0; round < 10; round++) {
                  try {
                    Checkpoints.write(model, out, WriteOptions.defaults().overwriting().withThreads(2));
                    written.incrementAndGet();
                  } catch (IOException e) {
                    if (!String.valueOf(e.getMessage()).endsWith("is being written by another thread")) {
                      synchronized (failures) {
                        failures.add(e);
                      }
                    }
                  }
                }
              }));
    }
    threads.forEach(Thread::start);
    for (Thread thread : threads) {
      thread.join();
    }

    assertEquals(List.of(), failures);
    assertTrue(written.get() > 0);
    assertEquals(List.of("out"), Trees.names(dir));
    try (ModelVersion model = Checkpoints.open(out)) {
      assertTrue(List.of(Fingerprint.of(trio.base()), Fingerprint.of(trio.newBase())).contains(Fingerprint.of(model)));
    }
  }

  private static String lockInOtherProcess(Path lock, boolean stay) throws Exception {
    Process process = start(lock, stay);
    String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8).trim();
    process.waitFor();
    return said;
  }

  private static Process start(Path lock, boolean stay) throws IOException {
    Path java = Path.of(System.getProperty("java.home"), "bin", "java");
    Path classes = Path.of(LockHolder.class.getProtectionDomain().getCodeSource().getLocation().getPath());
    String holder = LockHolder.class.getName();
    return new ProcessBuilder(java.toString(), "-cp", classes.toString(), holder, lock.toString(), Boolean.toString(stay))
        .redirectError(ProcessBuilder.Redirect.INHERIT)
        .start();
  }

  /** Another process that locks a file, says so, and may stay until it is killed. */
  static final class LockHolder {
    private LockHolder() {}

    public static void main(String[] args) throws Exception {
      try (FileChannel channel = FileChannel.open(Path.of(args[0]), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
          FileLock lock = channel.tryLock()) {
        System.out.println(lock == null ? "taken" : "locked");
        if (Boolean.parseBoolean(args[1])) {
          assertLocked(lock);
          Thread.sleep(Long.MAX_VALUE);
        }
      }
    }

    private static void assertLocked(FileLock lock) {
      if (lock == null) {
        throw new IllegalStateException("not locked");
      }
    }
  }
}
