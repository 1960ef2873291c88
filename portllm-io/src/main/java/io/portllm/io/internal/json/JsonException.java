package io.portllm.io.internal.json;

/** Thrown by {@link StrictJson} for text that is not JSON or goes beyond a limit; callers turn it into their format's rule. */
public final class JsonException extends Exception {
  private static final long serialVersionUID = 1L;

  /** What is wrong with the text. */
  public enum Kind {
    /** The bytes are not UTF-8. */
    ENCODING,
    /** The text is not JSON. */
    SYNTAX,
    /** An object has one key twice. */
    DUPLICATE,
    /** Arrays and objects are nested too deep. */
    DEPTH
  }

  private final Kind kind;
  private final long offset;

  JsonException(Kind kind, long offset, String message) {
    super(message);
    this.kind = kind;
    this.offset = offset;
  }

  /** What is wrong. */
  public Kind kind() {
    return kind;
  }

  /** The byte of the text where it is wrong, counted from 0. */
  public long offset() {
    return offset;
  }
}
