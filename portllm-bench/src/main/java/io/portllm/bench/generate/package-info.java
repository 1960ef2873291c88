/**
 * Large models of seeded pseudo-random weights, for measuring whole ports: {@link io.portllm.bench.generate.GenerateModel}.
 */
package io.portllm.bench.generate;
