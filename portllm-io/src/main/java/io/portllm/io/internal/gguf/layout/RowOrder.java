package io.portllm.io.internal.gguf.layout;

/** A permutation of the rows of a run: a bijection of 0 … rows − 1. Stateless. */
public interface RowOrder {
  /** Rows in the same order on both sides. */
  RowOrder SAME = new RowOrder() {
    @Override
    public long sourceOf(long row) {
      return row;
    }

    @Override
    public long targetOf(long row) {
      return row;
    }
  };

  /** The row of the Hugging Face tensor that GGUF row {@code row} is, both counted from the start of the run. */
  long sourceOf(long row);

  /** The row of the GGUF tensor that Hugging Face row {@code row} is: the inverse of {@link #sourceOf}. */
  long targetOf(long row);
}
