package io.portllm.io.internal.gguf.layout;

import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The pattern of a tensor's name: {@code #} stands for the number of the layer, {@code @} for the number of an expert or head, all else for
 * itself.
 */
final class Template {
  private static final String NUMBER = "0|[1-9][0-9]{0,5}";

  private final String text;
  private final Pattern pattern;

  Template(String text) {
    this.text = text;
    String quoted = Pattern.quote(text).replace("#", "\\E(?<layer>" + NUMBER + ")\\Q").replace("@", "\\E(?<copy>" + NUMBER + ")\\Q");
    this.pattern = Pattern.compile(quoted);
  }

  /** Numbers in a name; 0 where the template has none. */
  record Match(int layer, int copy) {}

  /** The numbers in {@code name}, if it is of this form. */
  Optional<Match> match(String name) {
    Matcher matcher = pattern.matcher(name);
    return matcher.matches() ? Optional.of(new Match(number(matcher, '#', "layer"), number(matcher, '@', "copy"))) : Optional.empty();
  }

  private int number(Matcher matcher, char mark, String group) {
    return text.indexOf(mark) < 0 ? 0 : Integer.parseInt(matcher.group(group));
  }

  /** The name with these numbers. */
  String fill(int layer, long copy) {
    return text.replace("#", Integer.toString(layer)).replace("@", Long.toString(copy));
  }

  @Override
  public String toString() {
    return text;
  }
}
