/** Writing outputs that are whole or absent. For internal use only. */
package io.portllm.io.internal.write;
