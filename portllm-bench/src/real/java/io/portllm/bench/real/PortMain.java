package io.portllm.bench.real;

import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.io.Checkpoints;
import io.portllm.io.PeftAdapter;
import io.portllm.io.WriteOptions;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * The port alone, for a JVM of its own, so that its time and memory are nobody else's: takes what an adapter changed in a base and
 * writes a newer base with it. Prints the most memory that the process had resident, as Linux tells it, or {@code n/a}.
 */
final class PortMain {
  private PortMain() {}

  /**
   * Runs the port.
   *
   * @param args the base's folder, the adapter's, the new base's and the folder to write
   */
  public static void main(String[] args) throws Exception {
    try (ModelVersion base = Checkpoints.open(Path.of(args[0]));
        PeftAdapter adapter = PeftAdapter.open(Path.of(args[1]));
        ModelVersion newBase = Checkpoints.open(Path.of(args[2]))) {
      Patch patch = Patch.from(adapter, base);
      Checkpoints.write(patch.applyTo(newBase), Path.of(args[3]), WriteOptions.defaults().overwriting());
    }
    Path status = Path.of("/proc/self/status");
    String peak = "n/a";
    if (Files.isReadable(status)) {
      peak =
          Files.readAllLines(status).stream()
              .filter(line -> line.startsWith("VmHWM:"))
              .findFirst()
              .map(PortMain::megabytes)
              .orElse(peak);
    }
    System.out.println(peak);
  }

  /** {@code VmHWM:   1024 kB} as {@code 1 MB}. */
  private static String megabytes(String line) {
    return Long.parseLong(line.replaceAll("\\D", "")) * 1024 / 1_000_000 + " MB";
  }
}
