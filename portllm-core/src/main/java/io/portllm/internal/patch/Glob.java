package io.portllm.internal.patch;

import io.portllm.internal.text.Names;
import java.util.Collection;
import java.util.List;
import java.util.function.Predicate;

/** Patterns of tensor names: {@code *} stands for any characters, {@code ?} for one, all else for itself. */
public final class Glob {
  private Glob() {}

  /**
   * Matches what any of {@code globs} matches.
   *
   * @throws IllegalArgumentException if there are none, or one matches none of {@code names}
   */
  public static Predicate<String> anyOf(List<String> globs, Collection<String> names) {
    if (globs.isEmpty()) {
      throw new IllegalArgumentException("at least one pattern must be given");
    }
    for (String glob : globs) {
      if (names.stream().noneMatch(name -> matches(glob, name))) {
        throw new IllegalArgumentException("pattern " + Names.quote(glob) + " matches none of the " + names.size() + " tensors of the patch");
      }
    }
    return name -> globs.stream().anyMatch(glob -> matches(glob, name));
  }

  /** Whether {@code glob} matches all of {@code name}. Greedy with one point to go back to, so that time stays within pattern × name. */
  public static boolean matches(String glob, String name) {
    int g = 0;
    int n = 0;
    int star = -1;
    int resume = 0;
    while (n < name.length()) {
      if (g < glob.length() && glob.charAt(g) == '*') {
        star = g++;
        resume = n;
      } else if (g < glob.length() && (glob.charAt(g) == '?' || glob.charAt(g) == name.charAt(n))) {
        g++;
        n++;
      } else if (star >= 0) {
        g = star + 1;
        n = ++resume;
      } else {
        return false;
      }
    }
    while (g < glob.length() && glob.charAt(g) == '*') {
      g++;
    }
    return g == glob.length();
  }
}
