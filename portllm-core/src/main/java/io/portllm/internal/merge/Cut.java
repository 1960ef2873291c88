package io.portllm.internal.merge;

/**
 * The line between the elements of greatest magnitude and the rest.
 *
 * @param key the magnitude at the line, as the bits of a float without its sign
 * @param last the last element of just that magnitude that is still above the line
 */
public record Cut(int key, long last) {
  /** Everything is above. */
  static final Cut ALL = new Cut(0, Long.MAX_VALUE);

  /** Nothing is above: no float has this magnitude. */
  static final Cut NONE = new Cut(Integer.MAX_VALUE, -1);

  /** Whether the element {@code index} with this value is above the line. */
  boolean isAbove(float value, long index) {
    int magnitude = Float.floatToRawIntBits(value) & Integer.MAX_VALUE;
    return magnitude > key || magnitude == key && index <= last;
  }
}
