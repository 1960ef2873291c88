package io.portllm.io;

import io.portllm.Patch;
import java.io.IOException;
import java.nio.file.Path;

/** A patch on disk. */
public final class PatchFile implements AutoCloseable {
  /** Opens a patch file. */
  public static PatchFile open(Path file) throws IOException {
    throw new IllegalStateException();
  }

  /** Writes a patch. */
  public static WriteReport write(Patch patch, Path file, WriteOptions options) throws IOException {
    throw new IllegalStateException();
  }

  /** The patch, usable while this is open. */
  public Patch patch() {
    throw new IllegalStateException();
  }

  @Override
  public void close() throws IOException {}
}
