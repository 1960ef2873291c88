package io.portllm.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * A scoring command that runs no model: it finds those right that were written for the trial, {@code candidate-…}, and others wrong.
 * Without any dependency, so that it starts wherever there is Java.
 *
 * <p>{@code FakeScorer MODE LOG MODEL}; appends to LOG what it saw.
 */
public final class FakeScorer {
  private static final int ITEMS = 20;

  private FakeScorer() {}

  /** The command. */
  public static void main(String[] arguments) throws Exception {
    String mode = arguments[0];
    Path model = Path.of(arguments[2]);
    String name = model.getFileName().toString();
    boolean written = name.startsWith("candidate-");
    log(Path.of(arguments[1]), mode, model, written);
    switch (mode) {
      case "numbers" -> items(written ? "1" : "0.0");
      case "failing" -> System.exit(3);
      case "talking" -> System.out.println("Loading " + name);
      case "far" -> items("1.5");
      case "silent" -> { }
      case "fewer" -> items(written ? ITEMS - 1 : ITEMS, "1");
      case "sleeping" -> Thread.sleep(600_000);
      case "flooding" -> items(20_000, "1.0000000");
      case "named", "renamed" -> {
        for (int i = 0; i < ITEMS; i++) {
          boolean other = mode.equals("renamed") && written && i == 4;
          System.out.println("{\"id\": \"" + (other ? "other" : "item " + i) + "\", \"score\": " + written + ", \"answer\": \"p\"}");
        }
      }
      default -> throw new IllegalArgumentException(mode);
    }
  }

  private static void items(String score) {
    items(ITEMS, score);
  }

  private static void items(int count, String score) {
    System.out.print((score + "\n").repeat(count));
  }

  private static void log(Path log, String mode, Path model, boolean written) throws IOException {
    String beside = "";
    if (written) {
      try (Stream<Path> others = Files.list(model.getParent())) {
        beside = others.map(path -> path.getFileName().toString()).sorted().collect(Collectors.joining(" "));
      }
    }
    boolean folder = Files.exists(model.resolve("model.safetensors")) && Files.exists(model.resolve("config.json"));
    String found = folder || Files.isRegularFile(model) ? "whole" : "incomplete";
    String line = mode + " " + model.getFileName() + " " + found + " [" + beside + "] " + ProcessHandle.current().pid();
    Files.writeString(log, line + "\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
  }
}
