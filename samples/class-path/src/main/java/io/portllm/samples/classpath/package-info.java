/** An application that embeds PortLLM on a plain class path. */
package io.portllm.samples.classpath;
