/** A service that ports the adapters of several tenants. Start at {@link io.portllm.samples.springboot.PortController}. */
package io.portllm.samples.springboot;
