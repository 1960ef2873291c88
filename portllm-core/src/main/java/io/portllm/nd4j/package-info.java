/**
 * ND4J arrays in and out of models ({@link io.portllm.nd4j.Nd4jModel}) and as the arithmetic of merging
 * ({@link io.portllm.nd4j.Nd4jMerger}).
 *
 * <p>The application brings the ND4J backend. No other package touches ND4J.
 */
package io.portllm.nd4j;
