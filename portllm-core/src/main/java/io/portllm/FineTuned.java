package io.portllm;

/**
 * A fine-tuned model in either of its forms: all its weights (a {@link ModelVersion}) or an adapter.
 */
public interface FineTuned {
  /** What messages call it, usually its path. */
  String name();

  /**
   * What fine-tuning changed, as a patch. Reads headers and vocabularies, not weights.
   *
   * @param base the model that was tuned; must stay open as long as the patch is used
   * @param options which mismatches are allowed
   * @throws java.io.UncheckedIOException if a vocabulary could not be read
   * @throws IncompatibleModelException if this is no fine-tune of {@code base}
   */
  Patch changesFrom(ModelVersion base, MergeOptions options);
}
