package io.portllm.io;

/**
 * What storing a changed tensor in a quantised type did to the change. Norms are Frobenius norms over the whole tensor, in the units of its
 * weights.
 *
 * @param changeNorm ‖w′ − w‖, where w are the values of the new base's blocks and w′ the same with the change, before they are quantised
 * @param errorNorm ‖q − w′‖, where q are the values of the blocks that were written
 * @param kept how much of the change survived: ⟨q − w, w′ − w⟩ / ‖w′ − w‖². 1 if all of it did, about 0 if none; 1 if there was no change
 * @param changedBlocks the blocks whose bytes are not those of the new base
 * @param blocks all blocks of the tensor
 */
public record Requantisation(double changeNorm, double errorNorm, double kept, long changedBlocks, long blocks) {
  /** The error relative to the change: above 1, what quantising adds is larger than what the patch changes. 0 if there was neither. */
  public double relativeError() {
    return errorNorm == 0 ? 0 : errorNorm / changeNorm;
  }
}
