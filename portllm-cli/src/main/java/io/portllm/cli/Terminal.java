package io.portllm.cli;

import java.io.Console;

/** Whether a person watches. */
public final class Terminal {
  private Terminal() {}

  /** Whether the command runs on a terminal, as opposed to a pipe or a build. */
  public static boolean isAttached() {
    Console console = System.console();
    if (console == null) {
      return false;
    }
    try {
      // From JDK 22 on there may be a console without a terminal, and a method that tells.
      return (boolean) Console.class.getMethod("isTerminal").invoke(console);
    } catch (ReflectiveOperationException e) {
      return true;
    }
  }
}
