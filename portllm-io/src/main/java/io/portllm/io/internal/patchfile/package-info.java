/**
 * The patch file: its metadata and what is stored for each kind of change. Writing starts at PatchContents, reading at PatchReader, which
 * leaves values to PatchFields, changes to DeltaTerms and the base to StoredBase. For internal use only.
 */
package io.portllm.io.internal.patchfile;
