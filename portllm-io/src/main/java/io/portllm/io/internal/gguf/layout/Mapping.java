package io.portllm.io.internal.gguf.layout;

/** What is known of how a GGUF file was made of a Hugging Face checkpoint: a {@link Layout}, or why there is none. */
public sealed interface Mapping permits Layout, Mapping.Unmapped {
  /**
   * No layout.
   *
   * @param reason why, as the rest of a sentence whose subject is the file
   */
  record Unmapped(String reason) implements Mapping {}
}
