package io.portllm.io.internal.patchfile;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.portllm.AddedToken;
import io.portllm.TokenRows;
import io.portllm.Vocabulary;
import java.io.ByteArrayOutputStream;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * The tokens of rows as bytes.
 *
 * <p>For each row that has a token, ascending: how many rows without one lie between it and the row before, or the start; the length of its
 * token in UTF-8; and the token. Numbers are in groups of seven bits, the lowest first, each in a byte whose highest bit is set in all but the
 * last.
 */
final class TokenTable {
  /** The longest table that is read: 256 MiB. That of 256,000 tokens has 2 MB. */
  static final long MOST_BYTES = 256L << 20;

  private static final String SPECIAL = "special";
  private static final String NORMALIZED = "normalized";
  private static final String LSTRIP = "lstrip";
  private static final String RSTRIP = "rstrip";
  private static final String SINGLE_WORD = "single_word";
  private static final Set<String> PROPERTIES = Set.of(SPECIAL, NORMALIZED, LSTRIP, RSTRIP, SINGLE_WORD);

  private TokenTable() {}

  static byte[] encode(Vocabulary tokens) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    int next = 0;
    for (int row : tokens.rows().toArray()) {
      byte[] token = tokens.token(row).orElseThrow().getBytes(StandardCharsets.UTF_8);
      put(out, row - next);
      put(out, token.length);
      out.writeBytes(token);
      next = row + 1;
    }
    return out.toByteArray();
  }

  /** What tokenizer.json says of the tokens that fine-tuning added. */
  static ObjectNode added(TokenRows rows) {
    ObjectNode object = new ObjectMapper().createObjectNode();
    rows.tokens().added().forEach(
        (row, token) -> {
          if (row >= rows.firstAdded()) {
            ArrayNode properties = object.putArray(row.toString());
            putIf(token.special(), SPECIAL, properties);
            putIf(token.normalized(), NORMALIZED, properties);
            putIf(token.lstrip(), LSTRIP, properties);
            putIf(token.rstrip(), RSTRIP, properties);
            putIf(token.singleWord(), SINGLE_WORD, properties);
          }
        });
    return object;
  }

  private static void putIf(boolean is, String property, ArrayNode properties) {
    if (is) {
      properties.add(property);
    }
  }

  /**
   * Reads what {@link #encode} and {@link #added} wrote.
   *
   * @throws IllegalArgumentException if the bytes or properties are none that they write
   */
  static TokenRows decode(ByteBuffer bytes, int firstAdded, Map<Integer, JsonNode> added) {
    Vocabulary.Builder builder = Vocabulary.builder();
    long next = 0;
    int count = 0;
    Set<Integer> described = new HashSet<>();
    try {
      for (; bytes.hasRemaining(); count++) {
        int row = Math.toIntExact(next + number(bytes));
        int length = number(bytes);
        if (length > bytes.remaining()) {
          throw new IllegalArgumentException("the token of row " + row + " is cut off");
        }
        String token = StandardCharsets.UTF_8.newDecoder().decode(bytes.slice(bytes.position(), length)).toString();
        bytes.position(bytes.position() + length);
        if (added.containsKey(row)) {
          builder.add(row, described(row, token, firstAdded, added.get(row)));
          described.add(row);
        } else {
          builder.add(row, token);
        }
        next = row + 1L;
      }
    } catch (BufferUnderflowException | ArithmeticException | CharacterCodingException e) {
      throw new IllegalArgumentException("the token after " + count + " others is malformed", e);
    }
    Vocabulary tokens = builder.build();
    if (tokens.isEmpty() || tokens.size() != count || described.size() != added.size()) {
      throw new IllegalArgumentException("there is no token, a token of two rows, or a property of a row without one");
    }
    return new TokenRows(tokens, firstAdded);
  }

  private static AddedToken described(int row, String token, int firstAdded, JsonNode properties) {
    Set<String> names = new HashSet<>();
    properties.forEach(property -> names.add(property.asText()));
    if (row < firstAdded || !properties.isArray() || names.size() != properties.size() || !PROPERTIES.containsAll(names)) {
      throw new IllegalArgumentException("the properties of row " + row + " must be some of " + List.of(PROPERTIES.stream().sorted().toArray()));
    }
    return new AddedToken(
        token, names.contains(SPECIAL), names.contains(NORMALIZED), names.contains(LSTRIP), names.contains(RSTRIP), names.contains(SINGLE_WORD));
  }

  private static void put(ByteArrayOutputStream out, int number) {
    int left = number;
    while (left > 0x7f) {
      out.write(left & 0x7f | 0x80);
      left >>>= 7;
    }
    out.write(left);
  }

  private static int number(ByteBuffer bytes) {
    long number = 0;
    for (int shift = 0; shift < 35; shift += 7) {
      int group = bytes.get();
      number |= (long) (group & 0x7f) << shift;
      if (group >= 0) {
        return Math.toIntExact(number);
      }
    }
    throw new ArithmeticException("a number of more than five groups");
  }
}
