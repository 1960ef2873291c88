package io.portllm.internal.text;

/** Names from files, made safe for one line of a message. */
public final class Names {
  private static final int LONGEST = 120;

  private Names() {}

  /** The name in single quotes, control and format characters escaped, long names cut in the middle. */
  public static String quote(String name) {
    StringBuilder text = new StringBuilder("'");
    int length = name.length();
    if (length <= LONGEST) {
      escape(name, 0, length, text);
    } else {
      escape(name, 0, LONGEST / 2, text);
      text.append("...");
      escape(name, length - LONGEST / 2, length, text);
      text.append("' (").append(length).append(" characters)");
      return text.toString();
    }
    return text.append('\'').toString();
  }

  /** The part after the last slash: what a path calls a model, whatever machine it lies on. */
  public static String last(String path) {
    String slashed = path.replace('\\', '/');
    String trimmed = slashed.endsWith("/") ? slashed.substring(0, slashed.length() - 1) : slashed;
    return trimmed.substring(trimmed.lastIndexOf('/') + 1);
  }

  private static void escape(String name, int from, int to, StringBuilder text) {
    for (int i = from; i < to; i++) {
      char c = name.charAt(i);
      if (c == '\'' || c == '\\') {
        text.append('\\').append(c);
      } else if (Character.isISOControl(c) || isInvisible(c)) {
        text.append(String.format("\\u%04x", (int) c));
      } else {
        text.append(c);
      }
    }
  }

  /** Characters that reorder or hide text, and surrogates, of which a half would print as rubbish. */
  private static boolean isInvisible(char c) {
    int type = Character.getType(c);
    return type == Character.FORMAT
        || type == Character.SURROGATE
        || type == Character.LINE_SEPARATOR
        || type == Character.PARAGRAPH_SEPARATOR
        || type == Character.UNASSIGNED
        || type == Character.PRIVATE_USE;
  }
}
