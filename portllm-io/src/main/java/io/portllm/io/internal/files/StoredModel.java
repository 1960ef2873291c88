package io.portllm.io.internal.files;

import io.portllm.ModelVersion;
import java.nio.file.Path;

/** A version that is read from files. */
public interface StoredModel extends ModelVersion {
  /** The file or folder that was opened. */
  Path path();
}
