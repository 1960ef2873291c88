package io.portllm.io.internal.gguf;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.io.MalformedModelException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

/** Values are had as what they are, and as nothing else. */
class GgufMetadataTest {
  @TempDir Path dir;

  private GgufModel model;
  private GgufMetadata metadata;

  @BeforeEach
  void open() throws IOException {
    byte[] broken = GgufBytes.le("broken", ValueType.STRING.ordinal(), 2L, (byte) 0xc3, (byte) '(');
    byte[] brokenToken = GgufBytes.le("brokens", ValueType.ARRAY.ordinal(), ValueType.STRING.ordinal(), 1L, 1L, (byte) 0xff);
    model = GgufModel.openFile(GgufBytes.everything(1).raw(broken).raw(brokenToken).write(dir.resolve("m.gguf")));
    metadata = model.metadata();
  }

  @AfterEach
  void close() throws IOException {
    model.close();
  }

  @Test
  void wholeNumbersOfAnyWidthAreRead() throws IOException {
    assertEquals(OptionalLong.of(200), metadata.integer("a.u8"));
    assertEquals(OptionalLong.of(-2), metadata.integer("a.i8"));
    assertEquals(OptionalLong.of(65_535), metadata.integer("a.u16"));
    assertEquals(OptionalLong.of(-1), metadata.integer("a.i16"));
    assertEquals(OptionalLong.of(0xffffffffL), metadata.integer("a.u32"));
    assertEquals(OptionalLong.of(-1), metadata.integer("a.i32"));
    assertEquals(OptionalLong.of(Long.MIN_VALUE), metadata.integer("a.i64"));
    assertEquals(OptionalLong.empty(), metadata.integer("a.none"));
  }

  @Test
  void otherValuesAreRead() throws IOException {
    assertEquals(Optional.of("llama"), metadata.architecture());
    assertEquals(OptionalDouble.of(1.5), metadata.number("a.f32"));
    assertEquals(OptionalDouble.of(-0.1), metadata.number("a.f64"));
    assertEquals(OptionalDouble.of(200), metadata.number("a.u8"));
    assertEquals(Optional.of(true), metadata.bool("a.bool"));
    assertArrayEquals(new long[] {4, -5, 6}, metadata.integers("a.ints").orElseThrow().toArray());
    assertArrayEquals(new double[] {0.5, -2}, metadata.numbers("a.floats").orElseThrow().toArray());
    assertArrayEquals(new double[] {4, -5, 6}, metadata.numbers("a.ints").orElseThrow().toArray());
    assertEquals(List.of(), metadata.strings("a.empty").orElseThrow().toList());
    assertEquals(Optional.empty(), metadata.string("a.none"));
    assertEquals(OptionalDouble.empty(), metadata.number("a.none"));
    assertEquals(Optional.empty(), metadata.bool("a.none"));
    assertEquals(Optional.empty(), metadata.strings("a.none"));
    assertEquals(Optional.empty(), metadata.integers("a.none"));
    assertEquals(Optional.empty(), metadata.numbers("a.none"));
  }

  @Test
  void keysHaveTheirOrderAndTypes() {
    assertEquals(List.of("general.architecture", "a.u8", "a.i8"), metadata.keys().asList().subList(0, 3));
    assertTrue(metadata.has("a.nested"));
    assertFalse(metadata.has("a.none"));
    assertEquals(Optional.of(ValueType.U16), metadata.type("a.u16"));
    assertEquals(Optional.of(ValueType.ARRAY), metadata.type("a.ints"));
    assertEquals(Optional.of(ValueType.I32), metadata.elementType("a.ints"));
    assertEquals(Optional.empty(), metadata.elementType("a.u16"));
    assertEquals(OptionalLong.of(3), metadata.length("a.ints"));
    assertEquals(OptionalLong.empty(), metadata.length("a.u16"));
  }

  @Test
  void tokensAreReadOneByOneOrAll() throws IOException {
    GgufStrings tokens = metadata.tokens().orElseThrow();
    List<String> visited = new ArrayList<>();

    tokens.forEach((index, bytes) -> visited.add(index + new String(bytes, StandardCharsets.UTF_8)));

    assertEquals(4, tokens.size());
    assertEquals(List.of("<s>", "", "\u2581the", "\ud83d\ude00"), tokens.toList());
    assertEquals(List.of("0<s>", "1", "2\u2581the", "3\ud83d\ude00"), visited);
  }

  @Test
  void valuesOfOtherTypesAreRefusedByName() {
    assertRefused("GG-TYPE", "'a.u8' must be a string but is U8", () -> metadata.string("a.u8"));
    assertRefused("GG-TYPE", "'a.f32' must be a whole number but is F32", () -> metadata.integer("a.f32"));
    assertRefused("GG-TYPE", "'a.u64' must be a whole number below 2^63 but is U64", () -> metadata.integer("a.u64"));
    assertRefused("GG-TYPE", "'a.bool' must be a number but is BOOL", () -> metadata.number("a.bool"));
    assertRefused("GG-TYPE", "'a.ints' must be a number but is an array of I32", () -> metadata.number("a.ints"));
    assertRefused("GG-TYPE", "'a.u8' must be true or false but is U8", () -> metadata.bool("a.u8"));
    assertRefused("GG-TYPE", "'a.ints' must be an array of strings but is an array of I32", () -> metadata.strings("a.ints"));
    assertRefused("GG-TYPE", "'a.u8' must be an array of whole numbers but is U8", () -> metadata.integers("a.u8"));
    assertRefused("GG-TYPE", "'a.floats' must be an array of whole numbers but is an array of F32", () -> metadata.integers("a.floats"));
    assertRefused("GG-TYPE", "'a.bools' must be an array of numbers but is an array of BOOL", () -> metadata.numbers("a.bools"));
  }

  @Test
  void textThatIsNotUtf8IsRefusedWhereTextIsAskedFor() throws IOException {
    assertRefused("GG-UTF8", "'broken' is not UTF-8", () -> metadata.string("broken"));
    assertRefused("GG-UTF8", "'brokens' is not UTF-8", () -> metadata.strings("brokens").orElseThrow().toList());
    metadata.strings("brokens").orElseThrow().forEach((index, bytes) -> assertArrayEquals(new byte[] {-1}, bytes));
  }

  private static void assertRefused(String rule, String says, Executable getter) {
    MalformedModelException refusal = assertThrows(MalformedModelException.class, getter);
    assertEquals(rule, refusal.rule());
    assertTrue(refusal.getMessage().contains(says), refusal::getMessage);
  }
}
