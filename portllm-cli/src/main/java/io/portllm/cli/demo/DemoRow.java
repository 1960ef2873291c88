package io.portllm.cli.demo;

import java.time.Duration;
import java.util.Optional;

/**
 * What was measured on one base.
 *
 * @param base the base's name
 * @param unpatched the base itself
 * @param lora the base with the LoRA patch ported to it
 * @param full the base with the full-weight patch ported to it
 */
record DemoRow(String base, Figure unpatched, Figure lora, Figure full) {
  /**
   * One model's share of right answers.
   *
   * @param percent as measured here
   * @param expected as measured when the models were made, in percent
   * @param port how long porting took, from opened models to the closed output; empty for the base itself
   */
  record Figure(double percent, double expected, Optional<Duration> port) {
    /** Whether the figures are at most one point apart. */
    boolean agrees() {
      return Math.abs(percent - expected) <= 1 + 1e-9;
    }
  }
}
