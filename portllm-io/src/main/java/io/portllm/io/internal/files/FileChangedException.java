package io.portllm.io.internal.files;

import io.portllm.internal.text.Names;
import java.io.IOException;
import java.nio.file.Path;

/** Thrown when a file is no longer the file that was opened. */
public final class FileChangedException extends IOException {
  private static final long serialVersionUID = 1L;

  private final transient Path file;
  private final String detail;

  FileChangedException(Path file, String detail) {
    super(Paths.prefix(file) + detail);
    this.file = file;
    this.detail = detail;
  }

  /** The same finding, made while reading a tensor. */
  public FileChangedException whileReading(String tensor) {
    FileChangedException named = new FileChangedException(file, "tensor " + Names.quote(tensor) + ": " + detail);
    named.initCause(this);
    return named;
  }
}
