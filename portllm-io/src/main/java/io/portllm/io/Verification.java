package io.portllm.io;

import com.google.common.collect.ImmutableList;
import io.portllm.ModelVersion;
import io.portllm.TensorInfo;
import io.portllm.internal.text.Names;
import io.portllm.io.internal.record.Digests;
import io.portllm.io.internal.record.OutputRecord;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Whether an output is what its record says was written: every file and every tensor, read anew.
 *
 * <p>A record tells accidents, not attacks: whoever can alter an output can alter its record. It holds the statement that OpenSSF model
 * signing signs, for those who need more.
 *
 * @param output the file or folder
 * @param fingerprint the {@link io.portllm.Fingerprint} of the model as it was written
 * @param record the record's text: what was put onto what, and by which version
 * @param differences what is not as it was written, a line each; none if all is
 */
public record Verification(Path output, String fingerprint, String record, List<String> differences) {
  public Verification {
    differences = ImmutableList.copyOf(differences);
  }

  /** Compares an output with its record, with default options. */
  public static Verification of(Path output) throws IOException {
    return of(output, WriteOptions.defaults());
  }

  /**
   * Compares an output with its record: {@code portllm.json} in a folder, {@code NAME.portllm.json} beside a file.
   *
   * @param options the number of threads, who is told of progress, and what cancels
   * @throws NoSuchFileException if there is no output, or no record of it
   * @throws MalformedModelException if the record is malformed
   * @throws java.util.concurrent.CancellationException if it was cancelled
   * @throws IOException if reading failed
   */
  public static Verification of(Path output, WriteOptions options) throws IOException {
    if (Files.notExists(output)) {
      throw new NoSuchFileException(output.toString());
    }
    Path file = OutputRecord.of(output);
    if (Files.notExists(file)) {
      throw new NoSuchFileException(file.toString(), null, "there is no record to compare with");
    }
    OutputRecord record = OutputRecord.read(file);
    List<String> differences = new ArrayList<>();
    Digests files = new Digests().files(output, output.getFileName().toString());
    Map<String, String> digests = new ConcurrentHashMap<>();
    try (ModelVersion model = Checkpoints.open(output)) {
      files.tensors(model, model.tensors(), digests).run(options);
      compareFiles(record, files.ofFiles(), differences);
      compareTensors(record, model, digests, differences);
      model.verifyUnchanged();
    } catch (MalformedModelException e) {
      files.run(options);
      compareFiles(record, files.ofFiles(), differences);
      differences.add("the model can no longer be read: " + e.getMessage());
    }
    return new Verification(output, record.fingerprint(), record.origin().toString(), differences);
  }

  private static void compareFiles(OutputRecord record, Map<String, String> found, List<String> differences) {
    record.files().forEach(
        (name, digest) -> {
          if (!found.containsKey(name)) {
            differences.add("file " + Names.quote(name) + " is missing");
          } else if (!found.get(name).equals(digest)) {
            differences.add("file " + Names.quote(name) + " has the SHA-256 " + found.get(name) + " but was written with " + digest);
          }
        });
    found.keySet().stream()
        .filter(name -> !record.files().containsKey(name))
        .forEach(name -> differences.add("file " + Names.quote(name) + " was not written with the others"));
  }

  private static void compareTensors(OutputRecord record, ModelVersion model, Map<String, String> digests, List<String> differences) {
    record.tensors().forEach(
        (name, entry) -> {
          String quoted = "tensor " + Names.quote(name);
          TensorInfo tensor = model.find(name).orElse(null);
          if (tensor == null) {
            differences.add(quoted + " is missing");
            return;
          }
          OutputRecord.Entry now = OutputRecord.Entry.of(tensor, digests.get(name));
          if (!now.dtype().equals(entry.dtype()) || !now.shape().equals(entry.shape())) {
            differences.add(quoted + " is " + now.dtype() + " " + now.shape() + " but was written as " + entry.dtype() + " " + entry.shape());
          } else if (!now.digest().equals(entry.digest())) {
            differences.add(quoted + " has the digest " + now.digest() + " but was written with " + entry.digest());
          }
        });
    model.tensors().stream()
        .filter(tensor -> !record.tensors().containsKey(tensor.name()))
        .forEach(tensor -> differences.add("tensor " + Names.quote(tensor.name()) + " was not written with the others"));
  }

  /** Whether all is as it was written. */
  public boolean holds() {
    return differences.isEmpty();
  }
}
