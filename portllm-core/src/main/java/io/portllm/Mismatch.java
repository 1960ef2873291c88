package io.portllm;

import io.portllm.internal.text.Names;
import java.util.Objects;
import java.util.Optional;

/**
 * One way in which two models, or a model and a patch, do not fit.
 *
 * @param tensor the tensor concerned, as named in its file
 * @param message one sentence saying what was expected and found; does not repeat the tensor's name
 * @param allowedBy the option that allows it, if one does
 */
public record Mismatch(String tensor, String message, Optional<Allow> allowedBy) {
  public Mismatch {
    Objects.requireNonNull(tensor, "tensor");
    Objects.requireNonNull(message, "message");
    Objects.requireNonNull(allowedBy, "allowedBy");
  }

  /** A mismatch that {@code allow} lets pass. */
  public static Mismatch of(String tensor, String message, Allow allow) {
    return new Mismatch(tensor, message, Optional.of(allow));
  }

  /** A mismatch that nothing lets pass. */
  public static Mismatch of(String tensor, String message) {
    return new Mismatch(tensor, message, Optional.empty());
  }

  /** The tensor's name, escaped, and the message, and what would allow it. */
  @Override
  public String toString() {
    return "tensor " + Names.quote(tensor) + ": " + message
        + allowedBy.map(a -> " (allowed by " + a.optionName() + ")").orElse("");
  }
}
