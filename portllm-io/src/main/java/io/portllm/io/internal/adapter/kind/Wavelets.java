package io.portllm.io.internal.adapter.kind;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Optional;

/** The low-pass filters of reconstruction of the wavelets that PEFT knows, with the numbers that it has for them. */
final class Wavelets {
  private Wavelets() {}

  /** The filter of the wavelet of this name, such as {@code db1}. */
  static Optional<float[]> named(String name) {
    for (String line : lines()) {
      String[] words = line.split(" ");
      if (words[0].equals(name)) {
        float[] filter = new float[words.length - 1];
        for (int i = 0; i < filter.length; i++) {
          filter[i] = Float.parseFloat(words[i + 1]);
        }
        return Optional.of(filter);
      }
    }
    return Optional.empty();
  }

  /** The names of the wavelets. */
  static List<String> names() {
    return lines().stream().map(line -> line.substring(0, line.indexOf(' '))).toList();
  }

  private static List<String> lines() {
    try (BufferedReader reader =
        new BufferedReader(new InputStreamReader(Wavelets.class.getResourceAsStream("wavelets.txt"), StandardCharsets.US_ASCII))) {
      return reader.lines().filter(line -> !line.startsWith("#")).toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
