/**
 * Reading of files by position: a {@link io.portllm.io.internal.files.SourceFile} is one file,
 * {@link io.portllm.io.internal.files.SourceFiles} the files of one model, which share a bounded number of handles. A
 * {@link io.portllm.io.internal.files.ModelFolder} says which files may be read through it.
 */
package io.portllm.io.internal.files;
