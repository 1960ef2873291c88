/** What is written beside an output of what it is: {@link io.portllm.io.internal.record.OutputRecord} is the file's content. */
package io.portllm.io.internal.record;
