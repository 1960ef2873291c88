package io.portllm.io.internal.patchfile;

/**
 * The names in a patch file.
 *
 * <p>Metadata: {@value #FORMAT} is {@value #FORMAT_VALUE}; {@value #VERSION} is {@value #VERSION_VALUE}; {@value #RECIPE} is free text;
 * {@value #DELTAS} is a JSON object from tensor name to {@code {"shape": [..], "terms": [{"kind": .., "factor": ..}, ..]}};
 * {@value #BASE_NAME}, {@value #BASE_FINGERPRINT}, {@value #BASE_TYING} and {@value #BASE_TENSORS} describe the model that the patch was
 * made on, the last as a JSON object from tensor name to {@code [dtype, [dimensions], digest]}. {@value #BASE_CONFIG} is a JSON object
 * of some of its settings; {@value #BASE_SKETCHES} one from tensor name to whether its sketch has products with the change. The sketches'
 * values are one F32 vector that is called {@value #BASE_SKETCHES} too.
 *
 * <p>{@value #TOKENS} names a tensor of U8 that says which token each row of embedding and head changes stands for, {@link TokenTable} has
 * its format; {@value #FIRST_ADDED} is the row of the first token that fine-tuning added, and {@value #ADDED} says of those that were added to
 * the tokenizer what {@code tokenizer.json} does, as a JSON object from row to their properties that are true.
 *
 * <p>The tensors of term number i of tensor t are called {@code t.i.part}. A term's kind tells its parts.
 */
final class PatchKeys {
  static final String FORMAT = "portllm.format";
  static final String FORMAT_VALUE = "patch";
  static final String VERSION = "portllm.version";
  static final String VERSION_VALUE = "1";
  static final String RECIPE = "portllm.recipe";
  static final String DELTAS = "portllm.deltas";
  /** The SHA-256 of the header's content without this entry. */
  static final String DIGEST = "portllm.digest";
  /** A JSON object from the names of stored tensors to their SHA-256; tensors of exact changes have theirs in {@link #DELTAS}. */
  static final String DIGESTS = "portllm.digests";
  static final String BASE_NAME = "portllm.base.name";
  static final String BASE_FINGERPRINT = "portllm.base.fingerprint";
  static final String BASE_TYING = "portllm.base.tying";
  static final String BASE_TENSORS = "portllm.base.tensors";
  static final String BASE_CONFIG = "portllm.base.config";
  static final String BASE_SKETCHES = "portllm.base.sketches";
  static final String TOKENS = "portllm.tokens";
  static final String FIRST_ADDED = "portllm.tokens.first-added";
  static final String ADDED = "portllm.tokens.added";

  /** The configurations of the adapters that {@link #ADAPTER} changes belong to: a JSON list of objects. */
  static final String ADAPTERS = "portllm.adapters";

  /** Changes stored as they are: part {@code delta}. */
  static final String DENSE = "dense";
  /** A product: parts {@code lora_A} and {@code lora_B}, fields {@code scale} and {@code transposed}. */
  static final String LOW_RANK = "low-rank";
  /**
   * A product in few bits: parts {@code lora_A.codes}, {@code lora_A.scales}, {@code lora_B.codes} and {@code lora_B.scales}, fields
   * {@code scale}, {@code rank}, {@code bits} and {@code group}.
   */
  static final String QUANTISED_LOW_RANK = "quantised-low-rank";
  /**
   * A product for each matrix of a stack: parts {@code lora_A}, a row for each rank of each matrix, and {@code lora_B}, a list of the
   * matrices' factors, fields {@code scale}, {@code transposed} and {@code ranks}.
   */
  static final String LOW_RANK_STACK = "low-rank-stack";
  /** Changes of some rows: parts {@code delta} and {@code indices}. */
  static final String ROWS = "rows";
  /** Few bits: parts {@code codes} and {@code scales}, fields {@code bits} and {@code group}. */
  static final String QUANTISED = "quantised";
  /**
   * Changes of some weights: parts {@code positions} and {@code offsets}, field {@code positions}; and the values as {@link #DENSE} or,
   * if the field {@code bits} is there, as {@link #QUANTISED}.
   */
  static final String SPARSE = "sparse";
  /** New weights: part {@code weight}. */
  static final String REPLACEMENT = "replacement";
  /** New weights of some rows: parts {@code weight} and {@code indices}. */
  static final String ROW_REPLACEMENT = "row-replacement";
  /**
   * New bits: fields {@code base} and {@code result}, each {@code [dtype, [dimensions], digest]} or absent, {@code inverted}, and
   * {@code payloads} with the SHA-256 of each part: {@code change} if base and result are of one type and shape, else {@code base} and
   * {@code result} for those that are there.
   */
  static final String EXACT = "exact";

  /**
   * The change that a module of an adapter makes to weights, whichever these are: fields {@code adapter}, its number in {@link #ADAPTERS},
   * {@code module}, {@code weight}, the shape of the module's weight, and {@code parts}, what the adapter stores for the module, in tensors
   * called as {@link #adapterPart} says.
   */
  static final String ADAPTER = "adapter";

  private PatchKeys() {}

  static String adapterPart(int adapter, String module, String part) {
    return "portllm.adapters." + adapter + "." + module + "." + part;
  }

  static String part(String tensor, int term, String part) {
    return tensor + "." + term + "." + part;
  }
}
