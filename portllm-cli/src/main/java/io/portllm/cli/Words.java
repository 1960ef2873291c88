package io.portllm.cli;

import java.util.ArrayList;
import java.util.List;

/**
 * A command as one text, taken apart into words without a shell: blanks part words, and quotes of either kind keep what is between them
 * together. Nothing else is special, neither backslashes nor wildcards nor variables, so that paths of every system stay as they are.
 */
final class Words {
  private Words() {}

  /**
   * The words of {@code command}.
   *
   * @throws IllegalArgumentException if a quote is not closed
   */
  static List<String> of(String command) {
    List<String> words = new ArrayList<>();
    StringBuilder word = new StringBuilder();
    boolean inWord = false;
    char quote = 0;
    for (char c : command.toCharArray()) {
      if (quote != 0) {
        if (c == quote) {
          quote = 0;
        } else {
          word.append(c);
        }
      } else if (c == '\'' || c == '"') {
        quote = c;
        inWord = true;
      } else if (Character.isWhitespace(c)) {
        if (inWord) {
          words.add(word.toString());
          word.setLength(0);
        }
        inWord = false;
      } else {
        word.append(c);
        inWord = true;
      }
    }
    if (quote != 0) {
      throw new IllegalArgumentException("has a quote " + quote + " that is not closed");
    }
    if (inWord) {
      words.add(word.toString());
    }
    return words;
  }
}
