/**
 * Whether a patch will work on a new base. Start from {@link io.portllm.Patch#checkAgainst} and read the
 * {@link io.portllm.portability.PortabilityReport}.
 */
package io.portllm.portability;
