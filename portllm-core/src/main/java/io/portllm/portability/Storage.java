package io.portllm.portability;

import com.google.common.collect.ImmutableList;
import io.portllm.DType;
import io.portllm.Rounding;
import java.util.List;

/**
 * What storing the ported weights in the new base's own form would do, for forms that patches are not compared in, such as quantised GGUF
 * files. Measured by storing a sample of the changed tensors anew.
 *
 * @param types the types of the changed tensors, in their order
 * @param tensors how many stored tensors the patch changes; of each of them there is a sample
 * @param weights how many weights these have
 * @param sampled how many of them were stored anew: all of a tensor of up to 16,384, else 16 runs of 1,024 at seeded places
 * @param rounding what became of the sampled weights; a quantised weight has vanished if it decodes to what it did before
 * @param quantised what became of blocks; all 0 if no changed tensor is quantised
 */
public record Storage(List<DType> types, int tensors, long weights, long sampled, Rounding rounding, Blocks quantised) {
  public Storage {
    types = ImmutableList.copyOf(types);
  }

  /**
   * What became of the blocks in the sample.
   *
   * @param blocks how many there are
   * @param unchanged those that keep their bytes
   * @param kept the part of the change that is in what was stored: its projection on the change that was wanted, 1 if all is
   * @param error the norm of what quantising added, as a part of the change's norm
   */
  public record Blocks(long blocks, long unchanged, double kept, double error) {}
}
