/**
 * The demo: ports bundled patches to bundled models with the public API, and runs the result.
 *
 * <p>Start from {@link io.portllm.cli.demo.DemoCommand}. {@link io.portllm.cli.demo.LlamaModel} and
 * {@link io.portllm.cli.demo.ByteLevelTokenizer} run a model; they are for models of a few million weights, no inference engine.
 */
package io.portllm.cli.demo;
