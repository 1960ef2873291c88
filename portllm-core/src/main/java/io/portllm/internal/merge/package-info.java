/** How patches are composed: selection, random masks, and changes computed from several. For internal use only. */
package io.portllm.internal.merge;
