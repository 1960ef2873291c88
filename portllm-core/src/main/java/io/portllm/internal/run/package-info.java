/** Running work on several threads. For internal use only. */
package io.portllm.internal.run;
