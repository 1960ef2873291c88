/** Strict reading of JSON from files that may lie. Start from {@link io.portllm.io.internal.json.StrictJson}. */
package io.portllm.io.internal.json;
