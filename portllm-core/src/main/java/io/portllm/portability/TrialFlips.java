package io.portllm.portability;

/**
 * Items that changed sides when the patch was ported; right is a score of one half or more.
 *
 * @param items how many items there are
 * @param negative right without the patch and wrong with it
 * @param positive wrong without the patch and right with it
 */
public record TrialFlips(int items, int negative, int positive) {
  /** The part of the items that were right and are wrong. */
  public double negativeShare() {
    return items == 0 ? 0 : (double) negative / items;
  }
}
