/** JMH benchmarks of the arithmetic. */
package io.portllm.bench.kernel;
