package io.portllm.io.internal.adapter;

import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;

/** The patterns of {@code rank_pattern} and {@code alpha_pattern}: regular expressions for the end of a module's path. */
final class ModulePattern {
  /** Characters looked at for one match. A pattern that needs more repeats itself without end. */
  private static final int MOST_STEPS = 1_000_000;

  /**
   * The most repetitions that the counts of a pattern may demand together. Repeating nothing looks at no character, so that the steps
   * do not bound it.
   */
  private static final long MOST_REPETITIONS = 10_000;

  private static final Pattern COUNT = Pattern.compile("\\{\\s*(\\d+)");

  private ModulePattern() {}

  /**
   * Whether {@code pattern} matches {@code module} as PEFT does: {@code re.match(r"(.*\.)?(pattern)$", module)}.
   *
   * @throws IllegalArgumentException saying what is wrong with the pattern, as the end of a sentence
   */
  static boolean matches(String pattern, String module) {
    checkCounts(pattern);
    try {
      return Pattern.compile("(.*\\.)?(" + pattern + ")").matcher(new Counted(module, 0, module.length(), new int[1])).matches();
    } catch (PatternSyntaxException e) {
      throw new IllegalArgumentException("is no regular expression", e);
    } catch (StackOverflowError e) {
      throw new IllegalArgumentException("nests too deep", e);
    }
  }

  private static void checkCounts(String pattern) {
    long product = 1;
    Matcher counts = COUNT.matcher(pattern);
    while (counts.find()) {
      String count = counts.group(1);
      product *= count.length() > 6 ? MOST_REPETITIONS + 1 : Math.max(1, Long.parseLong(count));
      if (product > MOST_REPETITIONS) {
        throw new IllegalArgumentException("repeats too often");
      }
    }
  }

  /** Text that can be looked at only so often. */
  private record Counted(String text, int from, int to, int[] steps) implements CharSequence {
    @Override
    public int length() {
      return to - from;
    }

    @Override
    public char charAt(int index) {
      if (++steps[0] > MOST_STEPS) {
        throw new IllegalArgumentException("takes too long to match");
      }
      return text.charAt(from + index);
    }

    @Override
    public CharSequence subSequence(int start, int end) {
      return new Counted(text, from + start, from + end, steps);
    }

    @Override
    public String toString() {
      return text.substring(from, to);
    }
  }
}
