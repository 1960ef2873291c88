package io.portllm.io.internal.files;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.FileSystem;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(60)
class SourceFileTest {
  private static final int SIZE = 3 << 20;

  @TempDir Path folder;

  @Test
  void readsAnyRangeIntoHeapAndDirectBuffers() throws IOException {
    Path path = pattern("a", SIZE);
    try (SourceFile file = SourceFile.open(path)) {
      assertEquals(SIZE, file.size());
      assertEquals(path, file.path());
      for (ByteBuffer buffer : List.of(ByteBuffer.allocate(SIZE), ByteBuffer.allocateDirect(SIZE))) {
        for (int[] range : new int[][] {{0, SIZE}, {1, SIZE - 2}, {SIZE - 1, 1}, {SIZE, 0}, {1 << 20, (1 << 20) + 1}}) {
          buffer.clear().position(SIZE - range[1]);
          file.readFully(range[0], buffer);
          for (int i = 0; i < range[1]; i++) {
            assertEquals(value(range[0] + i), buffer.get(SIZE - range[1] + i));
          }
        }
      }
    }
  }

  @Test
  void rangesBeyondTheFileAreTheCallersFault() throws IOException {
    try (SourceFile file = SourceFile.open(pattern("a", 10))) {
      for (long[] range : new long[][] {{-1, 1}, {10, 1}, {0, 11}, {Long.MAX_VALUE, 1}, {Long.MIN_VALUE, 1}}) {
        ByteBuffer buffer = ByteBuffer.allocate((int) range[1]);
        assertThrows(IllegalArgumentException.class, () -> file.readFully(range[0], buffer));
      }
    }
  }

  @Test
  void aFileCutAfterOpeningIsNamed() throws IOException {
    Path path = pattern("a", 100);
    try (SourceFile file = SourceFile.open(path)) {
      cut(path, 60);

      IOException e = assertThrows(IOException.class, () -> file.readFully(40, ByteBuffer.allocate(40)));

      assertEquals(
          "[" + path + "] the file changed since it was opened: it had 100 bytes and ends before byte 60 now", e.getMessage());
      assertThrows(FileChangedException.class, file::verifyUnchanged);
    }
  }

  @Test
  void changeIsNoticedBySizeTimeAndIdentity() throws IOException {
    Path path = pattern("a", 100);
    FileTime before = Files.getLastModifiedTime(path);
    try (SourceFile file = SourceFile.open(path)) {
      file.verifyUnchanged();

      Files.setLastModifiedTime(path, FileTime.fromMillis(before.toMillis() + 5000));
      assertTrue(assertThrows(IOException.class, file::verifyUnchanged).getMessage().contains("it was written at"));

      Path other = pattern("b", 100);
      Files.setLastModifiedTime(other, before);
      assumeTrue(Files.readAttributes(other, java.nio.file.attribute.BasicFileAttributes.class).fileKey() != null, "no file keys");
      Files.move(other, path, StandardCopyOption.REPLACE_EXISTING);
      assertTrue(assertThrows(IOException.class, file::verifyUnchanged).getMessage().contains("another file is in its place"));

      Files.delete(path);
      assertTrue(assertThrows(IOException.class, file::verifyUnchanged).getMessage().contains("the file is gone"));
    }
  }

  @Test
  void aFileReplacedWhileOpenIsReadToItsEnd() throws IOException {
    Path path = pattern("a", 100);
    try (SourceFile file = SourceFile.open(path)) {
      Files.move(Files.write(folder.resolve("b"), new byte[100]), path, StandardCopyOption.REPLACE_EXISTING);

      ByteBuffer buffer = ByteBuffer.allocate(100);
      file.readFully(0, buffer);

      assertEquals(value(99), buffer.get(99));
    }
  }

  @Test
  void whatIsNoFileIsRefusedWithoutOpeningIt() throws Exception {
    assertThrows(NoSuchFileException.class, () -> SourceFile.open(folder.resolve("none")));
    assertEquals("[" + folder + "] is a folder, not a file", assertThrows(IOException.class, () -> SourceFile.open(folder)).getMessage());
    Path pipe = folder.resolve("pipe");
    assumeTrue(hasMkfifo(pipe), "no mkfifo here");
    assertEquals(
        "[" + pipe + "] is a pipe or device, not a file", assertThrows(IOException.class, () -> SourceFile.open(pipe)).getMessage());
  }

  @Test
  void useAfterCloseIsRefusedAndClosingTwiceIsNot() throws IOException {
    Path path = pattern("a", 10);
    SourceFile file = SourceFile.open(path);
    file.close();
    file.close();

    IllegalStateException e = assertThrows(IllegalStateException.class, () -> file.readFully(0, ByteBuffer.allocate(1)));
    assertEquals(path + " was closed", e.getMessage());
  }

  @Test
  void closingAllFilesClosesEachAndRefusesMore() throws IOException {
    SourceFiles files = new SourceFiles();
    SourceFile file = files.open(pattern("a", 10));
    files.close();
    files.close();

    assertThrows(IllegalStateException.class, () -> file.readFully(0, ByteBuffer.allocate(1)));
    assertThrows(IllegalStateException.class, () -> files.open(folder.resolve("a")));
  }

  @Test
  void anInterruptedThreadIsToldAndKeepsItsFlag() throws IOException {
    try (SourceFile file = SourceFile.open(pattern("a", 10))) {
      Thread.currentThread().interrupt();
      InterruptedIOException e =
          assertThrows(InterruptedIOException.class, () -> file.readFully(0, ByteBuffer.allocate(10)));
      assertTrue(Thread.interrupted());
      assertTrue(e.getMessage().endsWith("reading was interrupted"), e.getMessage());

      ByteBuffer buffer = ByteBuffer.allocate(10);
      file.readFully(0, buffer);
      assertEquals(value(9), buffer.get(9));
    }
  }

  @Test
  void aChannelClosedByAnInterruptIsReopenedForOthers() throws IOException {
    try (SourceFiles files = new SourceFiles()) {
      SourceFile file = files.open(pattern("a", 10));
      SourceFiles.Handle handle = files.acquire(file);
      Thread.currentThread().interrupt();
      assertThrows(IOException.class, () -> handle.read(ByteBuffer.allocate(1), 0));
      assertTrue(Thread.interrupted());
      assertFalse(handle.channel().isOpen());

      ByteBuffer buffer = ByteBuffer.allocate(10);
      file.readFully(0, buffer);

      assertEquals(value(9), buffer.get(9));
      files.release(file, handle);
      file.readFully(0, buffer.clear());
    }
  }

  @Test
  void aChangedFileIsNotReopened() throws IOException {
    Path path = pattern("a", 10);
    try (SourceFiles files = new SourceFiles()) {
      SourceFile file = files.open(path);
      SourceFiles.Handle handle = files.acquire(file);
      handle.channel().close();
      files.release(file, handle);
      Files.write(path, new byte[11]);

      FileChangedException e = assertThrows(FileChangedException.class, () -> file.readFully(0, ByteBuffer.allocate(10)));
      assertTrue(e.getMessage().endsWith("it had 10 bytes and has 11 now"), e.getMessage());
    }
  }

  @Test
  void interruptsHarmNoOtherReader() throws Exception {
    int readers = 6;
    int rounds = 300;
    ExecutorService pool = Executors.newFixedThreadPool(readers);
    AtomicBoolean done = new AtomicBoolean();
    try (SourceFile file = SourceFile.open(pattern("a", SIZE))) {
      List<Future<Integer>> results = new ArrayList<>();
      for (int r = 0; r < readers; r++) {
        int seed = r;
        results.add(pool.submit(() -> readRounds(file, seed, rounds)));
      }
      Thread victim = new Thread(() -> readUntil(file, done), "interrupted reader");
      victim.start();
      while (results.stream().anyMatch(result -> !result.isDone())) {
        victim.interrupt();
        Thread.onSpinWait();
      }
      done.set(true);
      victim.join();
      for (Future<Integer> result : results) {
        assertEquals(rounds, result.get());
      }
    } finally {
      done.set(true);
      pool.shutdownNow();
    }
  }

  @Test
  void closingWhileOthersReadEndsThem() throws Exception {
    int readers = 4;
    ExecutorService pool = Executors.newFixedThreadPool(readers);
    try {
      SourceFile file = SourceFile.open(pattern("a", SIZE));
      List<Future<Integer>> results = new ArrayList<>();
      for (int r = 0; r < readers; r++) {
        int seed = r;
        Callable<Integer> endless = () -> readRounds(file, seed, Integer.MAX_VALUE);
        results.add(pool.submit(endless));
      }
      file.close();
      for (Future<Integer> result : results) {
        Exception e = assertThrows(Exception.class, result::get);
        assertEquals(IllegalStateException.class, e.getCause().getClass());
      }
    } finally {
      pool.shutdownNow();
    }
  }

  @Test
  void manyThreadsOnMoreFilesThanHandlesReadRight() throws Exception {
    int count = 3 * SourceFiles.MOST_HANDLES;
    int threads = SourceFiles.MOST_HANDLES + 16;
    ExecutorService pool = Executors.newFixedThreadPool(threads);
    try (SourceFiles files = new SourceFiles()) {
      List<SourceFile> all = new ArrayList<>();
      for (int i = 0; i < count; i++) {
        all.add(files.open(Files.write(folder.resolve("f" + i), new byte[] {(byte) i, (byte) (i + 1)})));
      }
      List<Future<Boolean>> results = new ArrayList<>();
      for (int t = 0; t < threads; t++) {
        int first = t;
        results.add(
            pool.submit(
                () -> {
                  for (int i = 0; i < 2 * count; i++) {
                    int which = (first * 7 + i) % count;
                    ByteBuffer buffer = ByteBuffer.allocate(2);
                    all.get(which).readFully(0, buffer);
                    assertArrayEquals(new byte[] {(byte) which, (byte) (which + 1)}, buffer.array());
                  }
                  return true;
                }));
      }
      for (Future<Boolean> result : results) {
        assertTrue(result.get());
      }
    } finally {
      pool.shutdownNow();
    }
  }

  @Test
  void aThreadThatWaitsForAHandleCanBeInterrupted() throws Exception {
    try (SourceFiles files = new SourceFiles()) {
      List<SourceFile> all = new ArrayList<>();
      for (int i = 0; i <= SourceFiles.MOST_HANDLES; i++) {
        all.add(files.open(Files.write(folder.resolve("f" + i), new byte[] {(byte) i})));
      }
      List<SourceFiles.Handle> held = new ArrayList<>();
      for (int i = 0; i < SourceFiles.MOST_HANDLES; i++) {
        held.add(files.acquire(all.get(i)));
      }
      SourceFile last = all.get(SourceFiles.MOST_HANDLES);
      AtomicBoolean told = new AtomicBoolean();
      Thread waiting =
          new Thread(
              () -> {
                try {
                  last.readFully(0, ByteBuffer.allocate(1));
                } catch (InterruptedIOException e) {
                  told.set(Thread.currentThread().isInterrupted());
                } catch (IOException e) {
                  throw new AssertionError(e);
                }
              });
      waiting.start();
      while (waiting.getState() != Thread.State.WAITING) {
        Thread.sleep(Duration.ofMillis(1).toMillis());
      }
      waiting.interrupt();
      waiting.join();
      assertTrue(told.get());

      files.release(all.get(5), held.get(5));
      ByteBuffer buffer = ByteBuffer.allocate(1);
      last.readFully(0, buffer);
      assertEquals(SourceFiles.MOST_HANDLES, buffer.get(0));
    }
  }

  @Test
  void filesOfOtherFileSystemsAreRead() throws IOException {
    Path zip = folder.resolve("z.zip");
    try (FileSystem system = FileSystems.newFileSystem(zip, Map.of("create", "true"))) {
      Path inside = Files.write(system.getPath("/a"), new byte[] {1, 2, 3});
      try (SourceFile file = SourceFile.open(inside)) {
        ByteBuffer buffer = ByteBuffer.allocate(2);
        file.readFully(1, buffer);
        assertArrayEquals(new byte[] {2, 3}, buffer.array());
        file.verifyUnchanged();
      }
    }
  }

  private static int readRounds(SourceFile file, int seed, int rounds) throws IOException {
    ByteBuffer buffer = ByteBuffer.allocate(2 << 20);
    for (int i = 0; i < rounds; i++) {
      int from = (seed * 7919 + i * 104729) % (SIZE - buffer.capacity());
      buffer.clear();
      file.readFully(from, buffer);
      for (int at = 0; at < buffer.capacity(); at += 65521) {
        assertEquals(value(from + at), buffer.get(at));
      }
    }
    return rounds;
  }

  private static void readUntil(SourceFile file, AtomicBoolean done) {
    ByteBuffer buffer = ByteBuffer.allocate(1 << 20);
    while (!done.get()) {
      try {
        file.readFully(0, buffer.clear());
      } catch (InterruptedIOException e) {
        Thread.interrupted();
      } catch (IOException e) {
        throw new AssertionError(e);
      }
    }
  }

  private Path pattern(String name, int size) throws IOException {
    byte[] bytes = new byte[size];
    for (int i = 0; i < size; i++) {
      bytes[i] = value(i);
    }
    return Files.write(folder.resolve(name), bytes);
  }

  private static byte value(int position) {
    return (byte) (position * 31 + (position >> 8));
  }

  private static void cut(Path path, long size) throws IOException {
    try (FileChannel channel = FileChannel.open(path, StandardOpenOption.WRITE)) {
      channel.truncate(size);
    }
  }

  private static boolean hasMkfifo(Path pipe) throws InterruptedException {
    try {
      return new ProcessBuilder("mkfifo", pipe.toString()).start().waitFor() == 0;
    } catch (IOException e) {
      return false;
    }
  }
}
