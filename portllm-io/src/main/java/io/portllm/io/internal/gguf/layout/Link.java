package io.portllm.io.internal.gguf.layout;

/**
 * Rows of a GGUF tensor that are rows of a Hugging Face tensor. Both are seen as matrices whose rows are runs of the innermost dimension;
 * one-dimensional tensors as columns: rows of one element.
 *
 * @param gguf the GGUF tensor
 * @param ggufRow its first row
 * @param source the Hugging Face tensor
 * @param sourceRow its first row; 0 if {@code transposed}
 * @param rows how many, counted in the GGUF tensor
 * @param order their order; {@link RowOrder#SAME} if {@code transposed}
 * @param transposed whether row {@code ggufRow} + i of the GGUF tensor is column i of the Hugging Face tensor; the run is then all of the
 *     Hugging Face tensor, but not always all of the GGUF tensor: vectors of heads are stacked as rows of a matrix
 * @param shift what the conversion adds to the values in float32: 1 for norms stored as weight + 1, else 0
 */
public record Link(
    String gguf, long ggufRow, String source, long sourceRow, long rows, RowOrder order, boolean transposed, float shift) {}
