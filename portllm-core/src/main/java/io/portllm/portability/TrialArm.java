package io.portllm.portability;

/**
 * One model of a trial.
 *
 * @param name what it is
 * @param items how many items were scored
 * @param score their mean score, from 0 to 1
 * @param interval of the score: Wilson's (1927)
 */
public record TrialArm(String name, int items, double score, Interval interval) {}
