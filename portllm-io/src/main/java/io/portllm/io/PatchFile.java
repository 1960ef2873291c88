package io.portllm.io;

import io.portllm.Patch;
import io.portllm.io.internal.gguf.GgufModel;
import io.portllm.io.internal.patchfile.PatchContents;
import io.portllm.io.internal.patchfile.PatchReader;
import io.portllm.io.internal.safetensors.SafetensorsModel;
import io.portllm.io.internal.write.CheckpointWriter;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;

/**
 * A patch on disk: an ordinary safetensors file, by custom called {@code NAME.patch.safetensors}, with metadata under
 * {@code portllm.*}. {@code docs/reference/patch-file.md} has the format.
 *
 * <p>Immutable, and safe for use by many threads until closed.
 */
public final class PatchFile implements AutoCloseable {
  private final SafetensorsModel tensors;
  private final Patch patch;

  private PatchFile(SafetensorsModel tensors, Patch patch) {
    this.tensors = tensors;
    this.patch = patch;
  }

  /**
   * Opens a patch file. Reads its header and the sketches of its base, not its changes: those are compared with their digests when they are
   * first used.
   *
   * @return the file; the caller closes it
   * @throws MalformedModelException if the file breaks a rule of its format, or is no patch
   * @throws IOException if reading failed
   */
  public static PatchFile open(Path file) throws IOException {
    SafetensorsModel tensors = SafetensorsModel.openFile(file);
    try {
      return new PatchFile(tensors, PatchReader.read(file, tensors));
    } catch (IOException | RuntimeException e) {
      tensors.close();
      throw e;
    }
  }

  /**
   * Whether {@code file} is a patch rather than a model, of whatever format. Reads its header.
   *
   * @throws MalformedModelException if the file is no GGUF file and breaks a rule of the safetensors format
   * @throws IOException if reading failed
   */
  public static boolean isPatch(Path file) throws IOException {
    if (GgufModel.is(file)) {
      return false;
    }
    try (SafetensorsModel tensors = SafetensorsModel.openFile(file)) {
      return PatchReader.isPatch(tensors);
    }
  }

  /** Writes a patch with default options. */
  public static WriteReport write(Patch patch, Path file) throws IOException {
    return write(patch, file, WriteOptions.defaults());
  }

  /**
   * Writes a patch, whole or not at all. Applying what is read back gives the same bytes as applying {@code patch}; identical patches
   * give identical files.
   *
   * <p>Goes through everything the patch is made of twice: once to leave out tensors that did not change, to find the least type that
   * holds the differences exactly, how long the payloads of exact changes are, the base's fingerprint and sketches and the digests that
   * tell a damaged file, and once to write. The listener is told of each pass.
   *
   * @param patch what to write; its models must be open
   * @param file the file to make; its name must end in {@code .safetensors}
   * @throws java.nio.file.FileAlreadyExistsException if the file exists and is not to be overwritten
   * @throws io.portllm.IncompatibleModelException if a tensor that must not change has changed
   * @throws java.util.concurrent.CancellationException if the write was cancelled
   * @throws IOException if reading or writing failed
   */
  public static WriteReport write(Patch patch, Path file, WriteOptions options) throws IOException {
    if (!file.toString().endsWith(".safetensors")) {
      throw new IllegalArgumentException("the name of a patch file must end in .safetensors but was " + file.getFileName());
    }
    long started = System.nanoTime();
    try (PatchContents contents = PatchContents.of(patch, options)) {
      WriteReport written = CheckpointWriter.write(contents, file, options.withoutRecord());
      Duration elapsed = Duration.ofNanos(System.nanoTime() - started);
      return new WriteReport(written.output(), written.tensors(), written.bytes(), written.rounding(), written.requantisation(), elapsed);
    }
  }

  /** The patch, usable while this file is open. */
  public Patch patch() {
    return patch;
  }

  /** Closes the file. */
  @Override
  public void close() throws IOException {
    tensors.close();
  }
}
