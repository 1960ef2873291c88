/**
 * The portability lab: small trained models on which it is known whether patches carry over. {@link io.portllm.bench.lab.LabMain} asks
 * models the lab's prompts, and compares what portability reports say of every patch and base with what was measured.
 */
package io.portllm.bench.lab;
