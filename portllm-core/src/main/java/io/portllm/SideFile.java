package io.portllm;

import java.io.IOException;
import java.io.InputStream;

/** A file of a model folder that holds no weights: configuration, tokenizer, licence. */
public interface SideFile {
  /** Its path within the model folder, with {@code /} between the parts. */
  String name();

  /** Its bytes from the start; the caller closes the stream. */
  InputStream open() throws IOException;
}
