/** What the JDK's Flight Recorder is told of. For internal use only. */
package io.portllm.internal.jfr;
