package io.portllm.io.internal.write;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.Rounding;
import io.portllm.io.internal.gguf.lens.BlockSums;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The journal of an unfinished folder. */
class JournalTest {
  private static final Work WORK = new Work(Map.of("program", "1", "options", "ein Brötchen \n \u202e", "input /a", "4711"));

  @TempDir Path dir;

  private final List<Journal.Finished> files = new ArrayList<>();
  private byte[] whole;

  @BeforeEach
  void write() throws IOException {
    Random random = new Random(1);
    try (Journal journal = new Journal(dir, WORK, Disk.REAL)) {
      for (int i = 0; i < 3; i++) {
        double[] values = {random.nextDouble() * 1e-300, random.nextGaussian(), random.nextGaussian() * 1e300};
        BlockSums sums = new BlockSums(values[0], values[1], values[2], i, Long.MAX_VALUE);
        Map<String, Rounding> rounding = Map.of("t\n" + i, new Rounding(random.nextLong(), i, 0, 1));
        files.add(new Journal.Finished("sub/" + i, i, "0".repeat(64), rounding, Map.of("q" + i, sums)));
        journal.add(files.get(i));
      }
    }
    whole = Files.readAllBytes(dir.resolve(Journal.NAME));
  }

  private Optional<Journal.Contents> read(byte[] bytes) throws IOException {
    Files.write(dir.resolve(Journal.NAME), bytes);
    return Journal.read(dir);
  }

  @Test
  void whatIsNotedIsReadToTheLastBitOfItsSums() throws IOException {
    assertEquals(Optional.of(new Journal.Contents(WORK, files)), Journal.read(dir));
  }

  @Test
  void everyPrefixGivesTheLinesThatAreWhole() throws IOException {
    int lines = 0;
    for (int length = 0; length <= whole.length; length++) {
      Optional<Journal.Contents> found = read(Arrays.copyOf(whole, length));
      lines += length > 0 && whole[length - 1] == '\n' ? 1 : 0;
      List<Journal.Finished> expected = files.subList(0, Math.max(0, lines - 1));
      assertEquals(lines == 0 ? Optional.empty() : Optional.of(new Journal.Contents(WORK, expected)), found);
    }
    assertEquals(4, lines);
  }

  @Test
  void aFlippedBitEndsTheJournalBeforeItsLine() throws IOException {
    for (int at = 0; at < whole.length; at++) {
      byte[] flipped = whole.clone();
      flipped[at] ^= (byte) (1 << at % 8);
      Optional<Journal.Contents> found = read(flipped);
      int before = (int) new String(whole, 0, at, StandardCharsets.ISO_8859_1).chars().filter(c -> c == '\n').count();
      List<Journal.Finished> expected = files.subList(0, Math.max(0, before - 1));
      assertEquals(before == 0 ? Optional.empty() : Optional.of(new Journal.Contents(WORK, expected)), found, "byte " + at);
    }
  }

  @Test
  void everyFactCounts() {
    assertEquals(Optional.empty(), WORK.difference(new Work(WORK.facts())));
    for (String fact : WORK.facts().keySet()) {
      Map<String, String> other = new HashMap<>(WORK.facts());
      other.put(fact, "another");
      assertTrue(WORK.difference(new Work(other)).isPresent(), fact);
      other.remove(fact);
      assertTrue(WORK.difference(new Work(other)).isPresent(), fact);
      assertTrue(new Work(other).difference(WORK).isPresent(), fact);
    }
  }
}
