package io.portllm.io.write;

import static java.util.stream.Collectors.groupingBy;
import static java.util.stream.Collectors.summingLong;
import static java.util.stream.Collectors.toSet;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.io.Checkpoints;
import io.portllm.io.WriteOptions;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import jdk.jfr.Recording;
import jdk.jfr.consumer.RecordedEvent;
import jdk.jfr.consumer.RecordingFile;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What Flight Recorder is told of a port. */
class StagesTest {
  @TempDir Path dir;

  @Test
  void everyByteReadMergedDigestedAndWrittenIsInAnEventOfItsStage() throws IOException {
    Trio trio = Trio.of(DType.BF16);
    Path base = trio.base().saveTo(dir.resolve("base"));
    Path tuned = trio.fineTuned().saveTo(dir.resolve("tuned"));
    Path onto = trio.newBase().saveTo(dir.resolve("onto"));
    Path output = dir.resolve("ported");
    Path recorded = dir.resolve("port.jfr");
    Set<String> changed;
    long changedBytes;
    try (Recording recording = new Recording();
        ModelVersion oldBase = Checkpoints.open(base);
        ModelVersion fineTuned = Checkpoints.open(tuned);
        ModelVersion newBase = Checkpoints.open(onto)) {
      List.of("Read", "Merge", "Hash", "Write", "Force").forEach(name -> recording.enable("io.portllm." + name).withoutThreshold());
      recording.start();
      ModelVersion ported = Patch.from(fineTuned, oldBase).applyTo(newBase);
      changed = new TreeSet<>(Checkpoints.write(ported, output, WriteOptions.defaults().recording()).rounding().keySet());
      changedBytes = newBase.tensors().stream().filter(tensor -> changed.contains(tensor.name())).mapToLong(tensor -> tensor.bytes()).sum();
      recording.stop();
      recording.dump(recorded);
    }

    Map<String, List<RecordedEvent>> events =
        RecordingFile.readAllEvents(recorded).stream().collect(groupingBy(event -> event.getEventType().getName()));
    long size = Files.size(output.resolve("model.safetensors"));
    assertTrue(bytes(events, "io.portllm.Read", "file", tuned.resolve("model.safetensors").toString()) >= changedBytes);
    assertTrue(bytes(events, "io.portllm.Read", "file", base.resolve("model.safetensors").toString()) >= changedBytes);
    assertTrue(bytes(events, "io.portllm.Read", "file", onto.resolve("model.safetensors").toString()) >= size);
    assertEquals(changed, events.get("io.portllm.Merge").stream().map(event -> event.getString("tensor")).collect(toSet()));
    assertEquals(changedBytes, events.get("io.portllm.Merge").stream().mapToLong(event -> event.getLong("bytes")).sum());
    assertEquals(size, events.get("io.portllm.Write").stream().mapToLong(event -> event.getLong("bytes")).sum());
    assertEquals(1, events.get("io.portllm.Force").size());
    assertTrue(events.get("io.portllm.Force").get(0).getString("file").endsWith("model.safetensors"));
    // Each tensor of the output, and as it was in the new base where it was changed; and the files.
    Set<String> digested = events.get("io.portllm.Hash").stream().map(event -> event.getString("what")).collect(toSet());
    assertTrue(digested.containsAll(Trio.names()), digested.toString());
    assertTrue(digested.stream().anyMatch(what -> what.endsWith("model.safetensors")), digested.toString());
    assertTrue(events.get("io.portllm.Hash").stream().allMatch(event -> event.getStackTrace() == null));
  }

  private static long bytes(Map<String, List<RecordedEvent>> events, String type, String field, String value) {
    return events.get(type).stream().collect(groupingBy(event -> event.getString(field), summingLong(event -> event.getLong("bytes"))))
        .getOrDefault(value, 0L);
  }
}
