/**
 * Makes the site of the documentation from the Markdown in the repository. Start from {@link io.portllm.docs.Site}; a
 * {@link io.portllm.docs.Page} is one Markdown file, {@link io.portllm.docs.Documentation} all of them.
 */
package io.portllm.docs;
