package io.portllm.samples.springboot;

import io.portllm.Merger;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.Rounding;
import io.portllm.io.Checkpoints;
import io.portllm.io.PeftAdapter;
import io.portllm.io.PortabilityReports;
import io.portllm.io.WriteOptions;
import jakarta.annotation.PreDestroy;
import java.io.IOException;
import java.nio.file.Path;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.stereotype.Component;

/** Checks and ports. The old base is open as long as the service runs: versions are safe for use by many threads. */
@Component
class Porter {
  private static final Logger LOG = LoggerFactory.getLogger(Porter.class);

  private final Folders folders;
  private final ModelVersion base;

  Porter(Folders folders) throws IOException {
    this.folders = folders;
    this.base = Checkpoints.open(folders.model(folders.base()));
    LOG.info("base {}, arithmetic: {}", folders.base(), Merger.fastest());
  }

  /** The portability report as JSON. */
  String check(String tenant, String model) throws IOException {
    try (PeftAdapter adapter = PeftAdapter.open(folders.tenant(tenant));
        ModelVersion newBase = Checkpoints.open(folders.model(model))) {
      return PortabilityReports.json(Patch.from(adapter, base).checkAgainst(newBase, base));
    }
  }

  /** Writes the ported model, whole or not at all. An output that exists is refused. */
  Ported port(String tenant, String model) throws IOException {
    Path output = folders.port(tenant, model);
    // One thread for each request: the server decides how many run at once.
    WriteOptions options = WriteOptions.defaults().recording().withThreads(1);
    try (PeftAdapter adapter = PeftAdapter.open(folders.tenant(tenant));
        ModelVersion newBase = Checkpoints.open(folders.model(model))) {
      Rounding total = Checkpoints.write(Patch.from(adapter, base).applyTo(newBase), output, options).total();
      return new Ported(output.toString(), total.touched(), total.vanished());
    }
  }

  @PreDestroy
  void close() throws IOException {
    base.close();
  }
}
