package io.portllm.io.internal.json;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonFactoryBuilder;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.exc.StreamConstraintsException;
import com.fasterxml.jackson.core.json.JsonReadFeature;
import io.portllm.io.internal.files.Paths;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CoderResult;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A pull parser of RFC 8259 in UTF-8, without leniency: no byte order mark, no other encoding, no key twice in an object, no half
 * of a surrogate pair, no text after the value.
 *
 * <p>Names and texts may be as long as the input; nothing is nested deeper than {@link #DEEPEST}, so memory stays
 * proportional to the input and the stack is never exhausted. Offsets count bytes from the start of the text.
 */
public final class StrictJson implements AutoCloseable {
  /** The deepest nesting that is read: 64 levels. Headers need 3; no configuration in use comes near. */
  public static final int DEEPEST = 64;

  /** The longest number that is read: 1,000 characters, because the time to convert one grows with their square. */
  public static final int LONGEST_NUMBER = 1000;

  private static final JsonFactory FACTORY = factory().build();
  private static final JsonFactory FACTORY_WITH_NAN = factory().enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS).build();

  private final byte[] text;
  private final JsonParser parser;

  private StrictJson(JsonFactory factory, byte[] text) throws JsonException {
    this.text = text;
    checkEncoding(text);
    try {
      // A reader, because from bytes Jackson would guess UTF-16 and UTF-32 too.
      parser = factory.createParser(new InputStreamReader(new ByteArrayInputStream(text), StandardCharsets.UTF_8));
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  private static JsonFactoryBuilder factory() {
    return new JsonFactoryBuilder()
        .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
        // Names are the file's and mostly unique: a table of them is only a place for collisions.
        .disable(JsonFactory.Feature.CANONICALIZE_FIELD_NAMES)
        .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
        .streamReadConstraints(
            StreamReadConstraints.builder()
                .maxNestingDepth(DEEPEST)
                .maxNameLength(Integer.MAX_VALUE)
                .maxStringLength(Integer.MAX_VALUE)
                .maxNumberLength(LONGEST_NUMBER)
                .maxDocumentLength(-1)
                .maxTokenCount(-1)
                .build());
  }

  /**
   * A parser before the first token.
   *
   * @throws JsonException if the bytes are not UTF-8 or begin with a byte order mark
   */
  public static StrictJson of(byte[] text) throws JsonException {
    return new StrictJson(FACTORY, text);
  }

  /** A parser that also reads {@code NaN}, {@code Infinity} and {@code -Infinity}, which Python writes for such numbers. */
  public static StrictJson withNonFiniteNumbers(byte[] text) throws JsonException {
    return new StrictJson(FACTORY_WITH_NAN, text);
  }

  /** The next token, or null at the end of the text. */
  public JsonToken next() throws JsonException {
    try {
      JsonToken token = parser.nextToken();
      if (token == JsonToken.FIELD_NAME || token == JsonToken.VALUE_STRING) {
        if (hasLoneSurrogate(parser.getText())) {
          throw new JsonException(JsonException.Kind.SYNTAX, offset(), "not JSON: text with half of a surrogate pair");
        }
      }
      return token;
    } catch (StreamConstraintsException e) {
      // The other limit that can be met is that of numbers.
      throw parser.getParsingContext().getNestingDepth() > DEEPEST
          ? new JsonException(JsonException.Kind.DEPTH, offset(e), "nested deeper than " + DEEPEST + " levels")
          : new JsonException(JsonException.Kind.SYNTAX, offset(e), "not readable: a number of more than " + LONGEST_NUMBER + " digits");
    } catch (JsonProcessingException e) {
      String message = e.getOriginalMessage();
      // Jackson has no type of its own for this.
      boolean duplicate = message.startsWith("Duplicate ");
      throw new JsonException(
          duplicate ? JsonException.Kind.DUPLICATE : JsonException.Kind.SYNTAX,
          offset(e),
          duplicate ? "a key occurs twice: " + Paths.shown(message) : "not JSON: " + Paths.shown(message));
    } catch (IOException e) {
      throw new AssertionError("the text is in memory and its encoding was checked", e);
    }
  }

  /** Whether the current token is this one. */
  public boolean is(JsonToken token) {
    return parser.currentToken() == token;
  }

  /** The text of the current token: a name, the characters of a text, the digits of a number as written. */
  public String text() {
    try {
      return parser.getText();
    } catch (IOException e) {
      throw new AssertionError("the token was read before", e);
    }
  }

  /** Goes to the end of the current value, checking it. */
  public void skip() throws JsonException {
    int depth = 0;
    JsonToken token = parser.currentToken();
    while (true) {
      if (token.isStructStart()) {
        depth++;
      } else if (token.isStructEnd()) {
        depth--;
      }
      if (depth == 0) {
        return;
      }
      token = next();
    }
  }

  /**
   * The current value as Java's: {@link Map}, {@link List}, {@link String}, {@link Boolean}, {@link BigInteger},
   * {@link BigDecimal} or null. Numbers keep the digits they are written with.
   *
   * @throws JsonException if the value breaks a rule, or the exponent of a number is beyond those of BigDecimal
   */
  public Object value() throws JsonException {
    return switch (parser.currentToken()) {
      case START_OBJECT -> {
        Map<String, Object> members = new LinkedHashMap<>();
        while (next() == JsonToken.FIELD_NAME) {
          String name = text();
          next();
          members.put(name, value());
        }
        yield Collections.unmodifiableMap(members);
      }
      case START_ARRAY -> {
        List<Object> elements = new ArrayList<>();
        while (next() != JsonToken.END_ARRAY) {
          elements.add(value());
        }
        yield Collections.unmodifiableList(elements);
      }
      case VALUE_NUMBER_INT -> new BigInteger(text());
      case VALUE_NUMBER_FLOAT -> decimal(text());
      case VALUE_TRUE -> true;
      case VALUE_FALSE -> false;
      case VALUE_NULL -> null;
      default -> text();
    };
  }

  private BigDecimal decimal(String digits) throws JsonException {
    try {
      return new BigDecimal(digits);
    } catch (NumberFormatException e) {
      throw new JsonException(JsonException.Kind.SYNTAX, offset(), "not readable: the number " + Paths.shown(digits));
    }
  }

  /**
   * Checks that only blanks follow.
   *
   * @throws JsonException if anything else does
   */
  public void end() throws JsonException {
    if (next() != null) {
      throw new JsonException(JsonException.Kind.SYNTAX, offset(), "not JSON: more text follows the first value");
    }
  }

  /** What the current token is, in words. */
  public String found() {
    JsonToken token = parser.currentToken();
    if (token == null) {
      return "nothing";
    }
    return switch (token) {
      case START_OBJECT, END_OBJECT -> "an object";
      case START_ARRAY, END_ARRAY -> "an array";
      case VALUE_STRING, FIELD_NAME -> "text";
      case VALUE_NUMBER_INT, VALUE_NUMBER_FLOAT -> "the number " + Paths.shown(text());
      default -> text();
    };
  }

  /** The byte where the current token begins. */
  public long offset() {
    return bytes(position());
  }

  /** The character where the current token begins; {@link #bytes} makes it an offset, which takes longer. */
  public long position() {
    return parser.currentTokenLocation().getCharOffset();
  }

  /** The byte after the current token, if it is the end of an object or array. */
  public int offsetAfter() {
    return (int) bytes(parser.currentLocation().getCharOffset());
  }

  /** The offset of a {@link #position}. */
  public long bytes(long position) {
    int offset = 0;
    for (long characters = 0; characters < position && offset < text.length; offset++) {
      int unit = text[offset] & 0xff;
      // One character for each leading byte, two where it leads four bytes.
      if (unit >= 0xf0) {
        characters += 2;
      } else if ((unit & 0xc0) != 0x80) {
        characters++;
      }
      while (offset + 1 < text.length && (text[offset + 1] & 0xc0) == 0x80) {
        offset++;
      }
    }
    return offset;
  }

  private long offset(JsonProcessingException e) {
    return e.getLocation() == null ? -1 : bytes(Math.max(0, e.getLocation().getCharOffset()));
  }

  /** Whether the text has half of a surrogate pair, which has no form in UTF-8. */
  public static boolean hasLoneSurrogate(String value) {
    for (int i = 0; i < value.length(); i++) {
      if (Character.isSurrogate(value.charAt(i))) {
        // A whole pair is one code point beyond the surrogates.
        if (Character.isBmpCodePoint(value.codePointAt(i))) {
          return true;
        }
        i++;
      }
    }
    return false;
  }

  /** Checks the bytes in one pass and little memory; a lenient decoder would put U+FFFD and so make two names one. */
  private static void checkEncoding(byte[] text) throws JsonException {
    CharsetDecoder decoder =
        StandardCharsets.UTF_8
            .newDecoder()
            .onMalformedInput(CodingErrorAction.REPORT)
            .onUnmappableCharacter(CodingErrorAction.REPORT);
    ByteBuffer in = ByteBuffer.wrap(text);
    CharBuffer out = CharBuffer.allocate(8192);
    CoderResult result;
    do {
      result = decoder.decode(in, out.clear(), true);
    } while (result.isOverflow());
    if (result.isError()) {
      throw new JsonException(JsonException.Kind.ENCODING, in.position(), "not UTF-8");
    }
    if (text.length >= 3 && text[0] == (byte) 0xef && text[1] == (byte) 0xbb && text[2] == (byte) 0xbf) {
      throw new JsonException(JsonException.Kind.SYNTAX, 0, "not JSON: begins with a byte order mark");
    }
  }

  @Override
  public void close() {
    try {
      parser.close();
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }
}
