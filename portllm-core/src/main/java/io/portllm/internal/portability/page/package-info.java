/** The portability report as one HTML page. {@link io.portllm.internal.portability.page.Page} puts it together. */
package io.portllm.internal.portability.page;
