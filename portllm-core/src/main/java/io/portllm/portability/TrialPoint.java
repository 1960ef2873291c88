package io.portllm.portability;

/**
 * A point of a sweep.
 *
 * @param at the scale of the patch, or how far the base is on the way from the old one (0) to the new one (1)
 * @param score the mean score there
 */
public record TrialPoint(double at, double score) {}
