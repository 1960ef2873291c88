/** How fast exact patches are encoded and decoded. */
package io.portllm.bench.exact;
