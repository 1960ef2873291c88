package io.portllm.bench.real;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ProtobufReaderTest {
  private static ProtobufReader reader(String hex) {
    return new ProtobufReader("model.onnx", ByteBuffer.wrap(HexFormat.ofDelimiter(" ").parseHex(hex)));
  }

  /** The three examples of protobuf's own description of its encoding. */
  @Test
  void readsTheExamplesOfTheEncodingsDescription() throws IOException {
    ProtobufReader number = reader("08 96 01");
    assertTrue(number.next());
    assertEquals(1, number.field());
    assertEquals(150, number.varint());
    assertFalse(number.next());

    ProtobufReader text = reader("12 07 74 65 73 74 69 6e 67");
    assertTrue(text.next());
    assertEquals(2, text.field());
    assertEquals("testing", text.text());
    assertFalse(text.next());

    ProtobufReader nested = reader("1a 03 08 96 01");
    assertTrue(nested.next());
    ProtobufReader inner = nested.message();
    assertTrue(inner.next());
    assertEquals(150, inner.varint());
    assertFalse(inner.next());
    assertFalse(nested.next());
  }

  @ParameterizedTest
  @CsvSource({
    "08 00, 0",
    "08 7f, 127",
    "08 80 01, 128",
    "08 ff ff ff ff ff ff ff ff 7f, 9223372036854775807",
    "08 80 80 80 80 80 80 80 80 80 01, -9223372036854775808",
    "08 ff ff ff ff ff ff ff ff ff 01, -1",
  })
  void readsVarintsOfEveryLength(String hex, long value) throws IOException {
    ProtobufReader reader = reader(hex);
    assertTrue(reader.next());
    assertEquals(value, reader.varint());
    assertFalse(reader.next());
  }

  @Test
  void readsRepeatedVarintsPackedOrNot() throws IOException {
    ProtobufReader packed = reader("22 06 03 8e 02 9e a7 05");
    assertTrue(packed.next());
    assertArrayEquals(new long[] {3, 270, 86942}, packed.varints());

    ProtobufReader single = reader("20 8e 02");
    assertTrue(single.next());
    assertArrayEquals(new long[] {270}, single.varints());
  }

  @Test
  void passesOverFieldsOfEveryWireType() throws IOException {
    ProtobufReader reader = reader("09 01 02 03 04 05 06 07 08 15 01 02 03 04 1a 01 ff 20 01 f8 ff ff ff 0f 2a");
    int[] fields = new int[5];
    for (int i = 0; i < fields.length; i++) {
      assertTrue(reader.next());
      fields[i] = reader.field();
    }
    assertArrayEquals(new int[] {1, 2, 3, 4, 536870911}, fields);
    assertEquals(42, reader.varint());
    assertFalse(reader.next());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "80 | [model.onnx] varint runs past the end of its message (byte 0)",
        "08 80 | [model.onnx] varint runs past the end of its message (byte 1)",
        "08 ff ff ff ff ff ff ff ff ff ff 01 | [model.onnx] varint is longer than 10 bytes (byte 1)",
        "12 05 61 62 | [model.onnx] value needs 5 bytes but its message has 2 left (byte 2)",
        "12 ff ff ff ff ff ff ff ff ff 01 61 | [model.onnx] value needs 18446744073709551615 bytes but its message has 1 left (byte 11)",
        "0d 01 02 | [model.onnx] value needs 4 bytes but its message has 2 left (byte 1)",
        "00 01 | [model.onnx] field number must be 1 to 536870911 but was 0 (byte 0)",
        "0b | [model.onnx] wire type must be 0, 1, 2 or 5 but was 3 (byte 0)",
      })
  void refusesWhatIsNoField(String hex, String message) {
    ProtobufReader reader = reader(hex.strip());
    assertEquals(message, assertThrows(IOException.class, reader::next).getMessage());
  }

  @Test
  void countsBytesFromTheStartOfTheOuterMessage() throws IOException {
    ProtobufReader outer = reader("08 01 1a 03 08 01 0b");
    assertTrue(outer.next());
    assertTrue(outer.next());
    ProtobufReader inner = outer.message();
    assertTrue(inner.next());
    IOException refused = assertThrows(IOException.class, inner::next);
    assertEquals("[model.onnx] wire type must be 0, 1, 2 or 5 but was 3 (byte 6)", refused.getMessage());
  }

  @Test
  void refusesToTakeAValueForAnother() throws IOException {
    ProtobufReader number = reader("08 01");
    assertTrue(number.next());
    assertThrows(IOException.class, number::text);
    assertThrows(IOException.class, number::bytes);
    assertThrows(IOException.class, number::message);

    ProtobufReader fixed = reader("0d 01 02 03 04");
    assertTrue(fixed.next());
    assertEquals(4, fixed.bytes().remaining());
    assertThrows(IOException.class, fixed::varint);
    assertThrows(IOException.class, fixed::varints);
    assertThrows(IOException.class, fixed::text);
  }
}
