/**
 * Hadoop's file systems as read-only {@link java.nio.file.Path}s, and writing to them. For internal use only;
 * {@link io.portllm.spark.HadoopPaths} is the way in.
 */
package io.portllm.spark.internal.hadoop;
