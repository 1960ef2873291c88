/** Speed on a GPU, and the bits of what was timed. {@code tools/gpu.sh} runs it beside torch and PEFT. */
package io.portllm.bench.gpu;
