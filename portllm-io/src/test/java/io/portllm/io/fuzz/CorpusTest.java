package io.portllm.io.fuzz;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.io.write.Trees;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/**
 * Every input of the corpora, what fuzzing found included, and mutations of them, always the same: read, or refused as documented. The fuzz
 * profile looks for new ones ({@code tools/fuzz.sh}).
 */
class CorpusTest {
  private static final int MUTATIONS = Integer.getInteger("portllm.mutations", 300);

  @TempDir Path dir;

  private static List<byte[]> corpus(String name) throws IOException, URISyntaxException {
    List<byte[]> inputs = new ArrayList<>();
    try (Stream<Path> files = Files.list(Path.of(CorpusTest.class.getResource("/fuzz/" + name).toURI()))) {
      for (Path file : files.sorted().toList()) {
        inputs.add(Files.readAllBytes(file));
      }
    }
    return inputs;
  }

  @TestFactory
  Stream<DynamicTest> everyInputAndItsMutationsAreReadOrRefused() {
    return new Targets(dir).all().entrySet().stream().map(entry -> DynamicTest.dynamicTest(entry.getKey(), () -> run(entry.getKey(), entry.getValue())));
  }

  private void run(String name, Targets.Target target) throws Exception {
    List<byte[]> corpus = corpus(name);
    assertTrue(corpus.size() > 5, name);
    target.accept(new byte[0]);
    for (byte[] input : corpus) {
      target.accept(input);
    }
    Random random = new Random(name.hashCode());
    for (int i = 0; i < MUTATIONS; i++) {
      byte[] input = mutated(corpus.get(random.nextInt(corpus.size())), corpus.get(random.nextInt(corpus.size())), random);
      try {
        target.accept(input);
      } catch (RuntimeException | Error e) {
        Path found = Files.write(Path.of("target", "finding-" + name), input);
        throw new AssertionError("mutation " + i + " of " + name + ", kept as " + found, e);
      }
    }
    assertEquals(List.of(), Trees.openFiles(dir));
  }

  /** A few edits: a flipped bit, a byte or number of the kind that breaks things, a piece cut out, doubled or taken from another input. */
  private static byte[] mutated(byte[] input, byte[] other, Random random) {
    byte[] bytes = input.clone();
    for (int edits = 1 + random.nextInt(4); edits > 0 && bytes.length > 0; edits--) {
      int at = random.nextInt(bytes.length);
      switch (random.nextInt(6)) {
        case 0 -> bytes[at] ^= (byte) (1 << random.nextInt(8));
        case 1 -> bytes[at] = "\"{}[],:0-9.eE\\u\0\u007f".getBytes(StandardCharsets.US_ASCII)[random.nextInt(17)];
        case 2 -> {
          long[] edges = {0, 1, -1, 127, 128, 255, 65535, 1L << 31, (1L << 31) - 1, 1L << 32, 1L << 62, Long.MAX_VALUE, Long.MIN_VALUE};
          long edge = edges[random.nextInt(edges.length)];
          for (int i = 0; i < 8 && at + i < bytes.length; i++) {
            bytes[at + i] = (byte) (edge >>> 8 * i);
          }
        }
        case 3 -> bytes = Arrays.copyOf(bytes, at);
        case 4 -> bytes = join(bytes, at, bytes, random.nextInt(bytes.length));
        default -> bytes = join(bytes, at, other, random.nextInt(Math.max(1, other.length)));
      }
    }
    return bytes;
  }

  /** The start of one and the end of another. */
  private static byte[] join(byte[] one, int end, byte[] other, int from) {
    byte[] joined = Arrays.copyOf(one, end + Math.max(0, other.length - from));
    System.arraycopy(other, Math.min(from, other.length), joined, end, joined.length - end);
    return joined;
  }
}
