/** The patch file: its metadata and what is stored for each kind of change. For internal use only. */
package io.portllm.io.internal.patchfile;
