/**
 * Reading of safetensors: {@link io.portllm.io.internal.safetensors.SafetensorsModel} is a model of one file or a folder,
 * {@link io.portllm.io.internal.safetensors.SafetensorsHeader} a file's header, read or to be written,
 * {@link io.portllm.io.internal.safetensors.ShardIndex} the index of a sharded model.
 */
package io.portllm.io.internal.safetensors;
