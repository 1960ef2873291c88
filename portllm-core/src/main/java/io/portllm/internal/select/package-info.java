/** Selection of the largest values without sorting. For internal use only. */
package io.portllm.internal.select;
