/** What the driver plans and commits, and what tasks do. For internal use only. */
package io.portllm.spark.internal.job;
