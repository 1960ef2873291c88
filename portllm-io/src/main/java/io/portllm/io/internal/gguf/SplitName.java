package io.portllm.io.internal.gguf;

import java.util.Locale;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The name of one file of a split model: {@code PREFIX-00001-of-00003.gguf}.
 *
 * @param prefix what the files have in common
 * @param number the number of this one, from 1 on
 * @param count how many there are
 */
record SplitName(String prefix, int number, int count) {
  private static final Pattern PATTERN = Pattern.compile("(.*)-([0-9]{5})-of-([0-9]{5})\\.gguf", Pattern.DOTALL);

  static Optional<SplitName> of(String fileName) {
    Matcher matcher = PATTERN.matcher(fileName);
    return matcher.matches()
        ? Optional.of(new SplitName(matcher.group(1), Integer.parseInt(matcher.group(2)), Integer.parseInt(matcher.group(3))))
        : Optional.empty();
  }

  /** The file name of part {@code other}, counted from 1. */
  String file(int other) {
    return String.format(Locale.ROOT, "%s-%05d-of-%05d.gguf", prefix, other, count);
  }
}
