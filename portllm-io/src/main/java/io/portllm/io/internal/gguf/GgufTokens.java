package io.portllm.io.internal.gguf;

import com.google.common.primitives.ImmutableLongArray;
import io.portllm.Vocabulary;
import java.io.IOException;
import java.util.Optional;

/** Reads which tokens the rows of a GGUF model stand for. */
final class GgufTokens {
  /** The type of rows without a token, to which converters give made-up names. */
  private static final long UNUSED = 5;

  private GgufTokens() {}

  /** The vocabulary, empty if there is none. Tokens that are not UTF-8, and unused ones, are left out. */
  static Vocabulary of(GgufMetadata metadata) throws IOException {
    Optional<GgufStrings> tokens = metadata.tokens();
    if (tokens.isEmpty()) {
      return Vocabulary.empty();
    }
    ImmutableLongArray types = metadata.integers("tokenizer.ggml.token_type").orElse(ImmutableLongArray.of());
    Vocabulary.Builder builder = Vocabulary.builder();
    tokens.get().forEach(
        (row, bytes) -> {
          if (row >= types.length() || types.get(row) != UNUSED) {
            Cursor.utf8(bytes).ifPresent(token -> builder.add(row, token));
          }
        });
    return builder.build();
  }
}
