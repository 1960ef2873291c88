package io.portllm.samples.classpath;

import io.portllm.IncompatibleModelException;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.Rounding;
import io.portllm.io.Checkpoints;
import io.portllm.io.PeftAdapter;
import io.portllm.io.Verification;
import io.portllm.io.WriteOptions;
import io.portllm.io.WriteReport;
import io.portllm.portability.PortabilityReport;
import io.portllm.portability.Verdict;
import java.io.IOException;
import java.nio.file.Path;

/** Puts an adapter on a new release of its base, unless the portability report advises against it, and proves what was written. */
public final class ClinicPort {
  private ClinicPort() {}

  /** Exits with 0 if the adapter was ported, 1 if that failed, 2 if the arguments are wrong, 4 if the report advises against it. */
  public static void main(String[] arguments) {
    if (arguments.length != 4) {
      System.err.println("usage: ClinicPort ADAPTER BASE NEW-BASE OUTPUT");
      System.exit(2);
    }
    try {
      System.exit(port(Path.of(arguments[0]), Path.of(arguments[1]), Path.of(arguments[2]), Path.of(arguments[3])));
    } catch (IOException | IncompatibleModelException e) {
      System.err.println(e.getMessage());
      System.exit(1);
    }
  }

  private static int port(Path adapterFolder, Path baseFolder, Path newBaseFolder, Path output) throws IOException {
    try (PeftAdapter adapter = PeftAdapter.open(adapterFolder);
        ModelVersion base = Checkpoints.open(baseFolder);
        ModelVersion newBase = Checkpoints.open(newBaseFolder)) {
      Patch patch = Patch.from(adapter, base);
      PortabilityReport report = patch.checkAgainst(newBase, base);
      System.out.println(report.verdict() + ": " + report.advice());
      if (report.verdict() == Verdict.DO_NOT_PORT) {
        return 4;
      }
      WriteReport written = Checkpoints.write(patch.applyTo(newBase), output, WriteOptions.defaults().recording());
      Rounding total = written.total();
      System.out.println("weights changed: " + total.touched() + ", of which vanished in rounding: " + total.vanished());
      System.out.println("as recorded: " + Verification.of(output).holds());
      return 0;
    }
  }
}
