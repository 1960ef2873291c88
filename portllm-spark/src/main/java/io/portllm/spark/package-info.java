/**
 * Models on clusters. {@link io.portllm.spark.SparkPorts} runs ports, patches, fingerprints and portability checks as Spark jobs;
 * {@link io.portllm.spark.SparkMain} is the same for {@code spark-submit}; {@link io.portllm.spark.HadoopPaths} lets the rest of the
 * library read what lies on a Hadoop file system, without Spark.
 */
package io.portllm.spark;
