package io.portllm.internal.portability.page;

/**
 * Markup that is HTML and well-formed XML. What is put into a template is escaped, unless it is markup itself: names come from files that
 * anybody may have written.
 */
final class Markup {
  /** Longer names are cut in the middle. */
  static final int LONGEST = 120;

  private final StringBuilder out = new StringBuilder();

  /** Appends {@code template} with each {@code {}} replaced by the next of {@code values}. */
  Markup add(String template, Object... values) {
    int from = 0;
    for (Object value : values) {
      int at = template.indexOf("{}", from);
      out.append(template, from, at);
      if (value instanceof Markup markup) {
        out.append(markup.out);
      } else {
        escape(String.valueOf(value), out);
      }
      from = at + 2;
    }
    out.append(template, from, template.length());
    return this;
  }

  /** Whether nothing was added. */
  boolean isEmpty() {
    return out.isEmpty();
  }

  /** A name, set apart from the direction of the text around it, and cut in the middle if it is long. */
  static Markup name(String name) {
    return new Markup().add("<bdi>{}</bdi>", shortened(name, LONGEST));
  }

  /** {@code name} with its middle left out if it is longer than {@code longest}. */
  static String shortened(String name, int longest) {
    if (name.length() <= longest) {
      return name;
    }
    int half = (longest - 1) / 2;
    return name.substring(0, half) + "…" + name.substring(name.length() - half);
  }

  @Override
  public String toString() {
    return out.toString();
  }

  private static void escape(String text, StringBuilder out) {
    text.codePoints().forEach(c -> {
      switch (c) {
        case '&' -> out.append("&amp;");
        case '<' -> out.append("&lt;");
        case '>' -> out.append("&gt;");
        case '"' -> out.append("&quot;");
        case '\'' -> out.append("&#39;");
        default -> {
          if (isShown(c)) {
            out.appendCodePoint(c);
          } else {
            out.append("\\u{").append(Integer.toHexString(c)).append('}');
          }
        }
      }
    });
  }

  /** Characters that reorder or hide text, halves of pairs, and what XML does not allow are written as their numbers. */
  private static boolean isShown(int c) {
    return switch (Character.getType(c)) {
      case Character.CONTROL, Character.FORMAT, Character.SURROGATE, Character.PRIVATE_USE, Character.LINE_SEPARATOR,
          Character.PARAGRAPH_SEPARATOR -> false;
      default -> (c & 0xFFFE) != 0xFFFE;
    };
  }
}
