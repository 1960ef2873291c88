package io.portllm;

import java.util.Objects;

/**
 * A token that was added to a tokenizer beside the vocabulary that it was trained with, as {@code added_tokens} of
 * {@code tokenizer.json} describes it.
 *
 * @param content the token
 * @param special whether it is left out of decoded text
 * @param normalized whether it is looked for in normalised text
 * @param lstrip whether it takes white space before it
 * @param rstrip whether it takes white space after it
 * @param singleWord whether it is found between word boundaries only
 */
public record AddedToken(String content, boolean special, boolean normalized, boolean lstrip, boolean rstrip, boolean singleWord) {
  public AddedToken {
    Objects.requireNonNull(content, "content");
  }
}
