package io.portllm.io.internal.safetensors;

import static io.portllm.io.internal.safetensors.Fixtures.file;
import static io.portllm.io.internal.safetensors.Fixtures.tensor;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.DType;
import io.portllm.TensorInfo;
import io.portllm.io.MalformedModelException;
import io.portllm.io.internal.files.SourceFile;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class SafetensorsHeaderTest {
  private static final String GOOD =
      "{\"__metadata__\":{\"format\":\"pt\",\"n\u00e9\":\"\"},\"w\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
          + "\"b\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[24,26]},"
          + "\"\u5c42\":{\"data_offsets\":[26,26],\"shape\":[0],\"dtype\":\"U8\"}}  ";

  private static final List<String> EDGES =
      List.of(
          "0", "-0", "-1", "1", "2147483647", "2147483648", "4294967296", "4611686018427387904", "9223372036854775807",
          "9223372036854775808", "18446744073709551615", "18446744073709551616", "1e3", "1.0", "1" + "0".repeat(5000));

  @TempDir Path folder;

  @Test
  void aGoodHeaderIsReadWhole() throws IOException {
    SafetensorsHeader header = read(file(GOOD, 26));

    int start = 8 + GOOD.getBytes(StandardCharsets.UTF_8).length;
    assertEquals(
        List.of(tensor("w", DType.F32, 2, 3), tensor("b", DType.BF16), tensor("\u5c42", DType.U8, 0)), header.tensors());
    assertEquals(Map.of("format", "pt", "n\u00e9", ""), header.metadata());
    assertEquals(start, header.dataStart());
    assertEquals(List.of((long) start, start + 24L, start + 26L), header.tensors().stream().map(t -> header.offsetOf(t.name())).toList());
    assertThrows(IllegalArgumentException.class, () -> header.offsetOf("x"));
  }

  @Test
  void everyPrefixOfAGoodFileIsRefused() throws IOException {
    byte[] good = file(GOOD, 26);
    for (int length = 0; length < good.length; length++) {
      byte[] prefix = Arrays.copyOf(good, length);
      String rule = assertThrows(MalformedModelException.class, () -> read(prefix)).rule();
      assertEquals(length < 8 ? "ST-LEN-8" : length < good.length - 26 ? "ST-LEN-FILE" : "ST-EOF", rule);
    }
  }

  @Test
  void everyBitFlipIsRefusedOrReadsOtherwise() throws IOException {
    byte[] good = file(GOOD, 26);
    SafetensorsHeader original = read(good);
    int refused = 0;
    for (int bit = 0; bit < (good.length - 26) * 8; bit++) {
      byte[] flipped = good.clone();
      flipped[bit / 8] ^= (byte) (1 << bit % 8);
      try {
        // Flips beyond the length are parsed in memory, to spare the disk two thousand files.
        SafetensorsHeader header = bit < 64 ? read(flipped) : parse(flipped);
        assertFalse(
            header.tensors().equals(original.tensors()) && header.metadata().equals(original.metadata()), "bit " + bit + " is ignored");
      } catch (MalformedModelException e) {
        refused++;
      }
    }
    assertTrue(refused > (good.length - 26) * 4, refused + " refused");
  }

  @Test
  void everyNumberAtItsEdgesIsRefusedOrRead() throws IOException {
    List<Integer> numbers = new ArrayList<>();
    for (int i = 1; i < GOOD.length(); i++) {
      if (Character.isDigit(GOOD.charAt(i)) && "[,".indexOf(GOOD.charAt(i - 1)) >= 0) {
        numbers.add(i);
      }
    }
    assertEquals(9, numbers.size());
    for (int at : numbers) {
      int end = at;
      while (Character.isDigit(GOOD.charAt(end))) {
        end++;
      }
      for (String edge : EDGES) {
        String header = GOOD.substring(0, at) + edge + GOOD.substring(end);
        if (edge.equals(GOOD.substring(at, end))) {
          read(file(header, 26));
        } else {
          assertThrows(MalformedModelException.class, () -> read(file(header, 26)), header);
        }
      }
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{`w`:{`dtype`:`F32`,`shape`:[2],`data_offsets`:[0,4]}} | 4 | tensor 'w': shape [2] x F32 needs 8 bytes but data_offsets give 4"
            + " (ST-SIZE, byte 9)",
        "{`w`:{`dtype`:`U8`,`shape`:[4],`data_offsets`:[0,4]},`v`:{`dtype`:`U8`,`shape`:[3],`data_offsets`:[2,5]}} | 5 | tensor 'v': its"
            + " data at 2 to 5 overlaps tensor 'w' at 0 to 4 (ST-OVERLAP, byte 61)",
        "{`w`:{`dtype`:`U8`,`shape`:[4],`data_offsets`:[0,4]},`v`:{`dtype`:`U8`,`shape`:[0],`data_offsets`:[2,2]}} | 4 | tensor 'v':"
            + " without bytes, at 2, it lies inside tensor 'w' at 0 to 4 (ST-HOLE, byte 61)",
        "{`w`:{`dtype`:`U8`,`shape`:[4],`data_offsets`:[1,5]}} | 5 | tensor 'w': its data begins at 1 but the tensors before it end at 0"
            + " (ST-HOLE, byte 9)",
        "{`w`:{`dtype`:`U8`,`shape`:[4],`data_offsets`:[0,4]}} | 3 | truncated: the tensors need 4 bytes after byte 61 but the file has 3"
            + " there (ST-EOF)",
        "{`w`:{`dtype`:`U8`,`shape`:[4],`data_offsets`:[0,4]}} | 6 | 2 bytes that belong to no tensor follow the last one (ST-TRAILING,"
            + " byte 65)",
        "{`w`:{`dtype`:`F4`,`shape`:[3],`data_offsets`:[0,1]}} | 1 | tensor 'w': shape [3] x F4 has 12 bits, no whole bytes (ST-SUBBYTE,"
            + " byte 9)",
        "{`w`:{`dtype`:`F32`,`shape`:[1],`data_offsets`:[4,0]}} | 4 | tensor 'w': data_offsets end at 0, before they begin at 4"
            + " (ST-OFFSETS-ORDER, byte 9)",
        "{`w`:{`dtype`:`F32`,`data_offsets`:[4,0]}} | 4 | tensor 'w': expected dtype, shape and data_offsets, shape is missing"
            + " (ST-INFO-FIELDS, byte 9)",
        "{`w`:{`dtype`:`F32`,`shape`:[1.0],`data_offsets`:[0,4]}} | 4 | tensor 'w': expected whole numbers from 0 to 2^64 - 1 in shape,"
            + " found the number 1.0 (ST-SHAPE, byte 37)",
        "{`w`:{`dtype`:`F32`,`shape`:[1],`data_offsets`:[0]}} | 4 | tensor 'w': expected 2 numbers as data_offsets, found 1 (ST-OFFSETS,"
            + " byte 9)",
        "{`w`:{`dtype`:`F32`,`shape`:[1],`data_offsets`:[0,4,8]}} | 4 | tensor 'w': expected at most 2 numbers as data_offsets, found more"
            + " (ST-OFFSETS, byte 60)",
        "{`w`:7} | 0 | tensor 'w': expected an object with dtype, shape and data_offsets, found the number 7 (ST-INFO, byte 13)",
        "{`__metadata__`:{`a`:1}} | 0 | __metadata__: expected text for the key 'a', found the number 1 (ST-META, byte 29)",
        "{`__metadata__`:null} | 0 | __metadata__: expected an object, found null (ST-META, byte 24)",
        "[] | 0 | expected a JSON object as header, found an array (ST-JSON-OBJ, byte 8)",
        "{`w`:{`dtype`:`U8`,`shape`:[9223372036854775807,4],`data_offsets`:[0,4]}} | 4 | tensor 'w': the number of bits of its shape,"
            + " multiplied from the left, is more than 2^63 - 1 (ST-OVERFLOW, byte 9)",
      })
  void refusalsSayWhatWasExpectedAndFound(String header, int dataBytes, String message) {
    Path path = folder.resolve("x.safetensors");
    MalformedModelException e =
        assertThrows(MalformedModelException.class, () -> read(file(header.replace('`', '"'), dataBytes)));
    assertEquals("[" + path + "] " + message, e.getMessage());
  }

  static Stream<Arguments> otherFormats() {
    return Stream.of(
        Arguments.of(
            "version https://git-lfs.github.com/spec/v1\noid",
            "it looks like a Git LFS pointer: fetch the file itself with git lfs pull"),
        Arguments.of(
            "PK\u0003\u0004\u0014\u0000\u0000\u0000",
            "it looks like a zip archive or a PyTorch checkpoint (pickle), which is not read"),
        Arguments.of("<!DOCTYPE html><html>", "it looks like a web page: a download that failed"),
        Arguments.of("GGUF\u0003\u0000\u0000\u0000\u0001", "it looks like a GGUF file"),
        Arguments.of("{\"weight_map\":{}}", "it looks like JSON text; a model with an index is opened by its folder"));
  }

  @ParameterizedTest
  @MethodSource("otherFormats")
  void otherFormatsAreCalledByTheirName(String start, String message) {
    byte[] bytes = start.getBytes(StandardCharsets.ISO_8859_1);
    MalformedModelException e = assertThrows(MalformedModelException.class, () -> read(bytes));
    assertTrue(e.getMessage().endsWith("; " + message + " (ST-LEN-MAX, byte 0)"), e.getMessage());
  }

  @Test
  void anUnsignedLengthIsToldAsSuch() {
    byte[] bytes = new byte[16];
    Arrays.fill(bytes, (byte) 0xff);
    MalformedModelException e = assertThrows(MalformedModelException.class, () -> read(bytes));
    assertEquals(
        "[" + folder.resolve("x.safetensors")
            + "] header length is 18446744073709551615, more than the 100000000 allowed (ST-LEN-MAX, byte 0)",
        e.getMessage());
  }

  @ParameterizedTest
  @ValueSource(strings = {"\\ud800", "\\udc00", "\\udc00\\ud800", "a\\ud83dx", "\\ud83d\\ud83d\\ude00"})
  void halvesOfSurrogatePairsAreRefusedWhereverTheyAre(String half) {
    for (String header :
        List.of(
            "{\"" + half + "\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}",
            "{\"__metadata__\":{\"" + half + "\":\"\"}}",
            "{\"__metadata__\":{\"a\":\"" + half + "\"}}",
            "{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0],\"x\":[\"" + half + "\"]}}")) {
      assertEquals("ST-JSON", assertThrows(MalformedModelException.class, () -> read(file(header, 0))).rule(), header);
    }
  }

  static Stream<Arguments> brokenJson() {
    return Stream.of(
        Arguments.of("{\"w\":#,\"w\":#}", "ST-DUP"),
        Arguments.of("{\"w\":#,\"\\u0077\":#}", "ST-DUP"),
        Arguments.of("{\"__metadata__\":{},\"__metadata__\":{}}", "ST-DUP"),
        Arguments.of("{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}}", "ST-DUP"),
        Arguments.of("{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"shape\":[0],\"data_offsets\":[0,0]}}", "ST-DUP"),
        Arguments.of("{\"a\":{\"x\":{\"y\":1,\"y\":1},\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", "ST-DUP"),
        Arguments.of("{\"w\":#,}", "ST-JSON"),
        Arguments.of("{\"w\":#}{}", "ST-JSON"),
        Arguments.of("{\"w\":#}x", "ST-JSON"),
        Arguments.of("{\"w\":#,\"v\":NaN}", "ST-JSON"),
        Arguments.of("{\"w\n\":#}", "ST-JSON"),
        Arguments.of("{\"\\x\":#}", "ST-JSON"),
        Arguments.of("{\"w\":#}\u0000", "ST-JSON-PAD"),
        Arguments.of("\uFEFF{\"w\":#}", "ST-JSON"),
        Arguments.of("{\"w\":#", "ST-JSON"));
  }

  @ParameterizedTest
  @MethodSource("brokenJson")
  void jsonIsReadStrictly(String header, String rule) {
    String info = "{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}";
    MalformedModelException e = assertThrows(MalformedModelException.class, () -> read(file(header.replace("#", info), 0)));
    assertEquals(rule, e.rule(), e::getMessage);
  }

  @Test
  void utf16ThatIsValidUtf8IsNotGuessed() {
    byte[] text = "{}".getBytes(StandardCharsets.UTF_16LE);
    byte[] bytes = ByteBuffer.allocate(8 + text.length).order(ByteOrder.LITTLE_ENDIAN).putLong(text.length).put(text).array();
    assertEquals("ST-JSON", assertThrows(MalformedModelException.class, () -> read(bytes)).rule());
  }

  @Test
  void invalidBytesAreFoundByTheirPosition() {
    byte[] bytes = file("{\"n\u00e9\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0);
    bytes[12] = 'x';
    MalformedModelException e = assertThrows(MalformedModelException.class, () -> read(bytes));
    assertEquals("[" + folder.resolve("x.safetensors") + "] the header is not UTF-8 (ST-UTF8, byte 11)", e.getMessage());
  }

  @Test
  void offsetsInMessagesCountBytesNotCharacters() {
    String header = "{\"__metadata__\":{\"\u00e9\u5c42\ud83d\ude00\":\"\"},\"w\":1}";
    MalformedModelException e = assertThrows(MalformedModelException.class, () -> read(file(header, 0)));
    assertEquals(8 + header.getBytes(StandardCharsets.UTF_8).length - 2, e.offset(), e::getMessage);
  }

  @Test
  void namesCannotForgeMessages() {
    String header = "{\"a\\n[other] \\u001b[31m\\u202e" + "x".repeat(5000) + "\":1}";
    String message = assertThrows(MalformedModelException.class, () -> read(file(header, 0))).getMessage();
    assertTrue(message.contains("tensor 'a\\u000a[other] \\u001b[31m\\u202e"), message);
    assertTrue(message.length() < 500, message);
    assertTrue(message.chars().noneMatch(c -> Character.isISOControl(c) || c == 0x202e), message);
  }

  @Test
  void ranksAreLimitedByNumberNotByTheStack() {
    String ones = "1,".repeat(100_000) + "1";
    MalformedModelException e =
        assertThrows(
            MalformedModelException.class,
            () -> read(file("{\"w\":{\"dtype\":\"U8\",\"shape\":[" + ones + "],\"data_offsets\":[0,1]}}", 1)));
    assertEquals("ST-SHAPE", e.rule());
  }

  @Test
  void emptyTensorsShareAnOffsetWithRealOnes() throws IOException {
    String header =
        "{\"r\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"z\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},"
            + "\"y\":{\"dtype\":\"I64\",\"shape\":[3,0],\"data_offsets\":[4,4]},"
            + "\"x\":{\"dtype\":\"I64\",\"shape\":[0],\"data_offsets\":[4,4]}}";
    assertEquals(List.of("z", "r", "y", "x"), read(file(header, 4)).tensors().stream().map(TensorInfo::name).toList());
  }

  @Test
  void twoHundredThousandTensorsAreRead() throws IOException {
    List<TensorInfo> tensors = new ArrayList<>();
    for (int i = 0; i < 200_000; i++) {
      tensors.add(tensor("model.layers." + i + ".weight", DType.U8, i % 2));
    }
    byte[] encoded = SafetensorsHeader.encode(tensors, Map.of());

    SafetensorsHeader header = read(Arrays.copyOf(encoded, encoded.length + 100_000));

    assertEquals(tensors, header.tensors());
    assertEquals(encoded.length + 50_000, header.offsetOf("model.layers.100000.weight"));
  }

  @Test
  void encodedHeadersAreReadBackAndPutDataAtMultiplesOf8() throws IOException {
    List<TensorInfo> tensors =
        List.of(
            tensor("", DType.F32, 1), tensor("\u0000\n\"\\/\u007f\u2028", DType.F4, 2), tensor("\u5c42\ud83d\ude00", DType.BOOL),
            tensor("../../etc/passwd", DType.C64, 0, 5), tensor("\u00e9", DType.F6_E2M3, 4), tensor("e\u0301", DType.U16, 1, 1, 1));
    Map<String, String> metadata = Map.of("z", "", "a", "\u0001\ud83d\ude00", "", "x".repeat(10_000));

    byte[] encoded = SafetensorsHeader.encode(tensors, metadata);
    SafetensorsHeader header = read(Arrays.copyOf(encoded, encoded.length + 4 + 1 + 1 + 3 + 2));

    assertEquals(tensors, header.tensors());
    assertEquals(metadata, header.metadata());
    assertEquals(0, header.dataStart() % 8);
    assertEquals(encoded.length, header.dataStart());
  }

  @Test
  void encodingHasOneForm() {
    String expected =
        "{\"__metadata__\":{\"a\":\"1\",\"b\":\"2\"},\"w\":{\"dtype\":\"F16\",\"shape\":[2,1],\"data_offsets\":[0,4]},"
            + "\"v\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[4,5]}}";
    String padded = expected + " ".repeat((8 - expected.length() % 8) % 8);
    byte[] encoded =
        SafetensorsHeader.encode(List.of(tensor("w", DType.F16, 2, 1), tensor("v", DType.U8)), Map.of("b", "2", "a", "1"));
    assertArrayEquals(file(padded, 0), encoded);
    assertArrayEquals(file("{}      ", 0), SafetensorsHeader.encode(List.of(), Map.of()));
  }

  @Test
  void whatCannotBeReadBackIsNotEncoded() {
    TensorInfo good = tensor("a", DType.U8, 1);
    List<List<TensorInfo>> refused =
        List.of(
            List.of(good, tensor("b", DType.U8, 1), good),
            List.of(tensor("__metadata__", DType.U8, 1)),
            List.of(tensor("\ud800", DType.U8, 1)),
            List.of(tensor("a\udc00b", DType.U8, 1)),
            List.of(tensor("a", DType.F4, 3)),
            List.of(tensor("a", DType.U8, Long.MAX_VALUE)),
            IntStream.range(0, 9).mapToObj(i -> tensor("t" + i, DType.U8, Long.MAX_VALUE / 8)).toList());
    for (List<TensorInfo> tensors : refused) {
      assertThrows(IllegalArgumentException.class, () -> SafetensorsHeader.encode(tensors, Map.of()), tensors::toString);
    }
    assertThrows(IllegalArgumentException.class, () -> SafetensorsHeader.encode(List.of(good), Map.of("\ud800", "")));
    assertThrows(IllegalArgumentException.class, () -> SafetensorsHeader.encode(List.of(good), Map.of("a", "\udc00")));
  }

  @Test
  void headersOverTheLimitAreNotEncoded() {
    IllegalArgumentException e =
        assertThrows(
            IllegalArgumentException.class, () -> SafetensorsHeader.encode(List.of(), Map.of("a", "x".repeat(100_000_000))));
    assertEquals("a header must be at most 100000000 bytes but that of 0 tensors has 100000032", e.getMessage());
  }

  private SafetensorsHeader parse(byte[] bytes) throws IOException {
    int length = (int) ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getLong();
    return new HeaderParser(folder, Arrays.copyOfRange(bytes, 8, 8 + length), bytes.length).parse();
  }

  private SafetensorsHeader read(byte[] bytes) throws IOException {
    Path path = folder.resolve("x.safetensors");
    Files.write(path, bytes);
    try (SourceFile file = SourceFile.open(path)) {
      return SafetensorsHeader.read(file);
    }
  }
}
