/** How patches are extracted, combined, fitted to a model and evaluated. For internal use only. */
package io.portllm.internal.patch;
