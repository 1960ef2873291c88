package io.portllm.io.internal.gguf.layout;

/** The permutations of rows that conversions make. */
final class RowOrders {
  private RowOrders() {}

  /**
   * The rows of each head in pairs: Hugging Face has the first halves of all pairs and then the second halves, as its rotary embedding
   * takes them; llama.cpp wants the pairs together ({@code LlamaModel.permute} of its converter).
   *
   * @param width rows of a head, even
   */
  record Pairs(long width) implements RowOrder {
    @Override
    public long sourceOf(long row) {
      long within = row % width;
      return row - within + within % 2 * (width / 2) + within / 2;
    }

    @Override
    public long targetOf(long row) {
      long within = row % width;
      return row - within + within % (width / 2) * 2 + within / (width / 2);
    }
  }

  /**
   * Fused queries, keys and values: Hugging Face has groups of some heads of queries, one of keys and one of values; llama.cpp wants all
   * queries, then all keys, then all values.
   *
   * @param groups how many
   * @param queries heads of queries in a group
   * @param width rows of a head
   */
  record Groups(long groups, long queries, long width) implements RowOrder {
    @Override
    public long sourceOf(long row) {
      long head = row / width;
      long allQueries = groups * queries;
      long source;
      if (head < allQueries) {
        source = head / queries * (queries + 2) + head % queries;
      } else {
        long kind = (head - allQueries) / groups;
        source = (head - allQueries) % groups * (queries + 2) + queries + kind;
      }
      return source * width + row % width;
    }

    @Override
    public long targetOf(long row) {
      long head = row / width;
      long group = head / (queries + 2);
      long within = head % (queries + 2);
      long target = within < queries ? group * queries + within : groups * queries + (within - queries) * groups + group;
      return target * width + row % width;
    }
  }
}
