package io.portllm.io.internal.write;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import com.google.common.hash.Hashing;
import io.portllm.Rounding;
import io.portllm.io.internal.gguf.lens.BlockSums;
import io.portllm.io.internal.record.OutputRecord;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The journal of an unfinished folder: the work that it is to become, then a line for each weight file that is finished. A line is the
 * SHA-256 of what follows it, a space, JSON, and an end of line, so that a line that was cut or is half on the disk is known as such.
 *
 * <p>A line says that a file with these bytes was finished, not that it is there: who reads the journal compares the file with it.
 */
final class Journal implements AutoCloseable {
  /** What it is called in the folder. */
  static final String NAME = OutputRecord.JOURNAL;

  private static final String FORMAT = "portllm.journal";
  private static final int VERSION = 1;
  private static final int MOST_BYTES = 64 << 20;

  private static final ObjectMapper JSON = new ObjectMapper();

  private final Disk.Sink sink;
  private long end;
  private boolean hasFiles;

  /**
   * A weight file that was finished.
   *
   * @param file its name below the folder
   * @param bytes its length
   * @param sha256 its digest
   * @param rounding of its tensors that are changed
   * @param requantisation of its tensors that were quantised again
   */
  record Finished(String file, long bytes, String sha256, Map<String, Rounding> rounding, Map<String, BlockSums> requantisation) {
    Finished {
      rounding = ImmutableMap.copyOf(rounding);
      requantisation = ImmutableMap.copyOf(requantisation);
    }
  }

  /** What a journal says. */
  record Contents(Work work, List<Finished> files) {
    Contents {
      files = ImmutableList.copyOf(files);
    }
  }

  /** A new journal in {@code folder}. */
  Journal(Path folder, Work work, Disk disk) throws IOException {
    sink = disk.create(folder.resolve(NAME));
    ObjectNode root = JSON.createObjectNode().put("format", FORMAT).put("version", VERSION);
    ObjectNode facts = root.putObject("work");
    work.facts().forEach(facts::put);
    try {
      append(root);
    } catch (Throwable e) {
      sink.close();
      throw e;
    }
  }

  /** Notes a file, on the disk too. */
  synchronized void add(Finished file) throws IOException {
    ObjectNode root = JSON.createObjectNode().put("file", file.file()).put("bytes", file.bytes()).put("sha256", file.sha256());
    ObjectNode rounding = root.putObject("rounding");
    file.rounding().forEach(
        (tensor, counts) ->
            rounding.putArray(tensor).add(counts.touched()).add(counts.vanished()).add(counts.overflowed()).add(counts.nonFinite()));
    ObjectNode requantisation = root.putObject("requantisation");
    file.requantisation().forEach(
        (tensor, sums) ->
            requantisation
                .putArray(tensor)
                .add(sums.change())
                .add(sums.error())
                .add(sums.overlap())
                .add(sums.changedBlocks())
                .add(sums.blocks()));
    append(root);
    hasFiles = true;
  }

  private void append(ObjectNode node) throws IOException {
    String json = JSON.writeValueAsString(node);
    byte[] line = (digest(json) + " " + json + "\n").getBytes(StandardCharsets.UTF_8);
    Disk.writeFully(sink, ByteBuffer.wrap(line), end);
    end += line.length;
    sink.force();
  }

  private static String digest(String json) {
    return Hashing.sha256().hashString(json, StandardCharsets.UTF_8).toString();
  }

  /** Whether anything is finished. */
  synchronized boolean hasFiles() {
    return hasFiles;
  }

  @Override
  public void close() throws IOException {
    sink.close();
  }

  /** Reads the journal of a folder as far as it goes; empty if there is none, or none that can be read. */
  static Optional<Contents> read(Path folder) throws IOException {
    Path file = folder.resolve(NAME);
    if (!Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS)) {
      return Optional.empty();
    }
    String text;
    try (InputStream in = Files.newInputStream(file)) {
      text = new String(in.readNBytes(MOST_BYTES), StandardCharsets.UTF_8);
    }
    List<JsonNode> nodes = new ArrayList<>();
    for (int start = 0, next = text.indexOf('\n'); next >= 0; start = next + 1, next = text.indexOf('\n', start)) {
      String line = text.substring(start, next);
      int space = line.indexOf(' ');
      if (space < 0 || !line.substring(0, space).equals(digest(line.substring(space + 1)))) {
        break;
      }
      try {
        nodes.add(JSON.readTree(line.substring(space + 1)));
      } catch (JsonProcessingException e) {
        break;
      }
    }
    if (nodes.isEmpty() || !FORMAT.equals(nodes.get(0).path("format").textValue()) || nodes.get(0).path("version").intValue() != VERSION) {
      return Optional.empty();
    }
    Map<String, String> facts = new LinkedHashMap<>();
    nodes.get(0).path("work").properties().forEach(entry -> facts.put(entry.getKey(), entry.getValue().asText()));
    return Optional.of(new Contents(new Work(facts), nodes.subList(1, nodes.size()).stream().map(Journal::finished).toList()));
  }

  private static Finished finished(JsonNode node) {
    Map<String, Rounding> rounding = new LinkedHashMap<>();
    node.path("rounding").properties().forEach(entry -> rounding.put(entry.getKey(), rounding((ArrayNode) entry.getValue())));
    Map<String, BlockSums> requantisation = new LinkedHashMap<>();
    node.path("requantisation").properties().forEach(entry -> requantisation.put(entry.getKey(), sums((ArrayNode) entry.getValue())));
    return new Finished(
        node.path("file").asText(), node.path("bytes").asLong(), node.path("sha256").asText(), rounding, requantisation);
  }

  private static Rounding rounding(ArrayNode counts) {
    return new Rounding(counts.path(0).asLong(), counts.path(1).asLong(), counts.path(2).asLong(), counts.path(3).asLong());
  }

  private static BlockSums sums(ArrayNode sums) {
    return new BlockSums(
        sums.path(0).asDouble(), sums.path(1).asDouble(), sums.path(2).asDouble(), sums.path(3).asLong(), sums.path(4).asLong());
  }
}
