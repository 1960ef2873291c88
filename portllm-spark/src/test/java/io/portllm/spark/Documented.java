package io.portllm.spark;

import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.io.Checkpoints;
import io.portllm.io.WriteReport;
import io.portllm.portability.PortabilityReport;
import io.portllm.portability.Verdict;
import java.io.IOException;
import java.nio.file.Path;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.api.java.JavaSparkContext;

/** The Java of {@code docs/how-to/spark.md} and {@code object-stores.md}, compiled where its libraries are */
final class Documented {
  private Documented() {}

  static void fromASparkApplication(JavaSparkContext context) throws IOException {
    SparkPorts ports = SparkPorts.on(context); // a JavaSparkContext

    PatchSource clinic = PatchSource.fineTuned("s3a://models/clinic-405b", "s3a://models/llama-405b");
    PortabilityReport report = ports.check(clinic, "s3a://models/llama-405b-new");
    if (report.verdict() == Verdict.PORT) {
      WriteReport written = ports.port(PortRequest.of(clinic, "s3a://models/llama-405b-new", "s3a://models/clinic-405b-new"));
      System.out.println(written.total());
    }
  }

  static void withoutSpark() throws IOException {
    Configuration configuration = new Configuration(); // core-site.xml; fs.s3a.access.key and so on
    try (ModelVersion base = Checkpoints.open(HadoopPaths.of("s3a://models/llama-3-8b", configuration));
        ModelVersion fineTuned = Checkpoints.open(HadoopPaths.of("s3a://models/my-clinic-8b", configuration));
        ModelVersion newBase = Checkpoints.open(HadoopPaths.of("s3a://models/llama-3.1-8b", configuration))) {
      Checkpoints.write(Patch.from(fineTuned, base).applyTo(newBase), Path.of("my-clinic-8b-on-3.1"));
    }
  }
}
