package io.portllm.internal.cuda;

import io.portllm.Merger;
import java.util.Optional;

/** The merger on the GPU, or what stands in for it. */
public final class Gpu {
  /** The merger. */
  public static final Merger MERGER = choose();

  private Gpu() {}

  private static Merger choose() {
    System.Logger log = System.getLogger("io.portllm");
    Optional<String> problem = Devices.problem();
    if (problem.isPresent()) {
      log.log(System.Logger.Level.INFO, "no CUDA: " + problem.get() + "; merging on the CPU (" + Merger.fastest() + ")");
      return Merger.fastest();
    }
    Merger merger = new CudaMerger(Devices.get(), Merger.fastest());
    log.log(System.Logger.Level.INFO, "merging with " + merger);
    return merger;
  }
}
