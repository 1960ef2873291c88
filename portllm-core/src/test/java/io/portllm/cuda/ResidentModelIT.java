package io.portllm.cuda;

import io.portllm.ModelVersion;
import java.io.IOException;
import java.util.Map;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;

/** Models on a GPU. Skipped where there is none. */
class ResidentModelIT extends ResidentModelContract {
  @BeforeAll
  static void needsGpu() {
    Cuda.problem().ifPresent(problem -> Assumptions.abort("no GPU: " + problem));
  }

  @Override
  ResidentModel load(ModelVersion model, Originals originals) throws IOException {
    return ResidentModel.load(model, originals);
  }

  @Override
  ResidentModel over(ModelVersion model, Map<String, Long> addresses, Originals originals) {
    return ResidentModel.over(model, addresses, originals);
  }
}
