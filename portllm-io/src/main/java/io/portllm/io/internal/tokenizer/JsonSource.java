package io.portllm.io.internal.tokenizer;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonFactoryBuilder;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.json.JsonReadFeature;
import io.portllm.SideFile;
import io.portllm.internal.text.Names;
import io.portllm.io.MalformedModelException;
import io.portllm.io.internal.files.Paths;
import java.io.BufferedInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.Reader;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

/**
 * A side file in JSON, read from start to end without keeping it: tokenizers have tens of megabytes. Offsets count bytes.
 */
final class JsonSource implements AutoCloseable {
  /** The most bytes that are read: 256 MiB. The largest tokenizers in use have 35 MB. */
  static final long MOST_BYTES = 256L << 20;

  private static final JsonFactory FACTORY =
      new JsonFactoryBuilder()
          // Names are tokens, each once: a table of them is only a place for collisions. Jackson reads bytes only with that table.
          .disable(JsonFactory.Feature.CANONICALIZE_FIELD_NAMES)
          .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
          .enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS)
          .streamReadConstraints(
              StreamReadConstraints.builder()
                  .maxNestingDepth(64)
                  .maxNameLength(1 << 20)
                  // Precompiled normalisers are one text.
                  .maxStringLength(64 << 20)
                  .maxNumberLength(1000)
                  .maxDocumentLength(MOST_BYTES)
                  .build())
          .build();

  private final Path file;
  private final SideFile side;
  private final JsonParser parser;

  private JsonSource(Path file, SideFile side, JsonParser parser) {
    this.file = file;
    this.side = side;
    this.parser = parser;
  }

  /**
   * Opens a file before its first token.
   *
   * @param folder the model that {@code side} belongs to, for messages
   */
  static JsonSource open(Path folder, SideFile side) throws IOException {
    Reader reader =
        new InputStreamReader(
            side.open(),
            StandardCharsets.UTF_8.newDecoder().onMalformedInput(CodingErrorAction.REPORT).onUnmappableCharacter(CodingErrorAction.REPORT));
    try {
      return new JsonSource(folder.resolve(side.name()), side, FACTORY.createParser(reader));
    } catch (IOException | RuntimeException e) {
      reader.close();
      throw e;
    }
  }

  /** The next token. */
  JsonToken next() throws IOException {
    try {
      JsonToken token = parser.nextToken();
      if (token == null) {
        throw malformed("TK-JSON", "the tokenizer ends early");
      }
      return token;
    } catch (JsonProcessingException | CharacterCodingException e) {
      throw unreadable(e);
    }
  }

  private MalformedModelException unreadable(IOException e) throws IOException {
    if (e instanceof JsonProcessingException json) {
      long offset = json.getLocation() == null ? -1 : bytes(json.getLocation().getCharOffset());
      return unreadable(offset, "is not readable JSON: " + Paths.shown(json.getOriginalMessage()), e);
    }
    return unreadable(-1, "is not UTF-8", e);
  }

  private MalformedModelException unreadable(long offset, String what, IOException cause) {
    MalformedModelException refusal = new MalformedModelException(file, "TK-JSON", offset, "the tokenizer " + what);
    refusal.initCause(cause);
    return refusal;
  }

  /** Requires that the current token is this one. */
  void require(JsonToken token, String what, String rule) throws IOException {
    if (parser.currentToken() != token) {
      throw malformed(rule, what + " must be " + words(token) + " but is " + words(parser.currentToken()));
    }
  }

  private static String words(JsonToken token) {
    return switch (token) {
      case START_OBJECT -> "an object";
      case START_ARRAY -> "an array";
      case VALUE_NUMBER_INT -> "a whole number";
      case VALUE_NUMBER_FLOAT -> "a number";
      case VALUE_STRING, FIELD_NAME -> "text";
      case VALUE_TRUE, VALUE_FALSE -> "true or false";
      case VALUE_NULL -> "null";
      default -> "nothing";
    };
  }

  boolean is(JsonToken token) {
    return parser.currentToken() == token;
  }

  /** Goes to the end of the current value. */
  void skip() throws IOException {
    int depth = 0;
    while (true) {
      depth += parser.currentToken().isStructStart() ? 1 : parser.currentToken().isStructEnd() ? -1 : 0;
      if (depth == 0) {
        return;
      }
      next();
    }
  }

  /** The text of the current token. */
  String text() throws IOException {
    try {
      return parser.getText();
    } catch (JsonProcessingException | CharacterCodingException e) {
      // Text is decoded only now.
      throw unreadable(e);
    }
  }

  /** The current token as the number of a row. */
  int row(String token) throws IOException {
    require(JsonToken.VALUE_NUMBER_INT, "the id of token " + Names.quote(token), "TK-ID");
    String digits = text();
    if (digits.startsWith("-") || digits.length() > 10 || Long.parseLong(digits) >= Integer.MAX_VALUE) {
      throw malformed("TK-ID", "the id of token " + Names.quote(token) + " must be 0 or more and less than 2147483647 but is " + Paths.shown(digits));
    }
    return Integer.parseInt(digits);
  }

  /** The byte where the current token begins; goes through the file for it. */
  long offset() throws IOException {
    return bytes(parser.currentTokenLocation().getCharOffset());
  }

  /** The byte at which so many characters end. */
  private long bytes(long characters) throws IOException {
    try (InputStream in = new BufferedInputStream(side.open())) {
      long offset = 0;
      for (long left = characters; left > 0; offset++) {
        int unit = in.read();
        if (unit < 0) {
          break;
        }
        // One character for each code point, two for one of four bytes.
        if (unit < 0x80) {
          left--;
        } else if (unit >= 0xc0) {
          int more = unit >= 0xf0 ? 3 : unit >= 0xe0 ? 2 : 1;
          in.skipNBytes(more);
          offset += more;
          left -= more == 3 ? 2 : 1;
        }
      }
      return offset;
    } catch (EOFException e) {
      // What was read a moment ago is cut off now.
      return -1;
    }
  }

  MalformedModelException malformed(String rule, String message) throws IOException {
    return new MalformedModelException(file, rule, offset(), message);
  }

  @Override
  public void close() throws IOException {
    parser.close();
  }
}
