/** Text in messages. For internal use only. */
package io.portllm.internal.text;
