/** How changes of few bits and few changes are laid out in bytes. For internal use only. */
package io.portllm.internal.codes;
