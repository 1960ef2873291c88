package io.portllm.samples.springboot;

/**
 * What became of a port.
 *
 * @param output the ported model's folder
 * @param touched weights that the patch changed
 * @param vanished of those, the weights whose change was lost in rounding
 */
record Ported(String output, long touched, long vanished) {}
