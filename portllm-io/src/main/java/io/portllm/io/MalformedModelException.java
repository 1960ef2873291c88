package io.portllm.io;

import io.portllm.internal.text.Names;
import java.io.IOException;
import java.nio.file.Path;

/**
 * Thrown when a file breaks a rule of its format. The message names the file, the rule, what was expected and what was found.
 */
public final class MalformedModelException extends IOException {
  private static final long serialVersionUID = 1L;

  private final String file;
  private final String rule;
  private final long offset;

  /**
   * An exception for a broken rule.
   *
   * @param file the file
   * @param rule the rule's short name, such as {@code ST-SIZE}; {@code docs/reference/errors.md} lists them
   * @param offset the byte at which the file breaks the rule, or -1 if no byte can be named
   * @param message one sentence without the file; names from the file in it must have been escaped
   */
  public MalformedModelException(Path file, String rule, long offset, String message) {
    super("[" + shown(file) + "] " + message + " (" + rule + (offset < 0 ? "" : ", byte " + offset) + ")");
    this.file = file.toString();
    this.rule = rule;
    this.offset = offset;
  }

  private static String shown(Path file) {
    String quoted = Names.quote(file.toString());
    return quoted.substring(1, quoted.endsWith("'") ? quoted.length() - 1 : quoted.length());
  }

  /** The path of the file. */
  public String file() {
    return file;
  }

  /** The rule's short name. */
  public String rule() {
    return rule;
  }

  /** The byte at which the file breaks the rule, or -1. */
  public long offset() {
    return offset;
  }
}
