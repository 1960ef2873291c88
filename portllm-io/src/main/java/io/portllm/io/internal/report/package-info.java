/** Reports as JSON. For internal use only. */
package io.portllm.io.internal.report;
