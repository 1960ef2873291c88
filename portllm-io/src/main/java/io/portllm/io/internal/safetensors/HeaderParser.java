package io.portllm.io.internal.safetensors;

import com.fasterxml.jackson.core.JsonToken;
import com.google.common.collect.ImmutableMap;
import com.google.common.primitives.ImmutableLongArray;
import io.portllm.DType;
import io.portllm.Shape;
import io.portllm.TensorInfo;
import io.portllm.internal.text.Names;
import io.portllm.io.MalformedModelException;
import io.portllm.io.internal.files.Paths;
import io.portllm.io.internal.json.JsonException;
import io.portllm.io.internal.json.StrictJson;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** Parses the header of one file and checks all of it before anything is handed on. */
final class HeaderParser {
  private static final System.Logger LOG = System.getLogger(HeaderParser.class.getName());

  /** The highest rank: 100,000. Frameworks stop at 64 or below; more only takes memory. */
  private static final int HIGHEST_RANK = 100_000;

  /** The most entries of metadata: 100,000. Each takes some 20 times its bytes in memory. */
  private static final int MOST_METADATA = 100_000;

  /**
   * A tensor where the header puts it.
   *
   * @param begin the first byte of its data, counted from the start of the data
   * @param position where the header names it
   */
  private record Entry(TensorInfo info, long begin, long end, long position) {}

  private final Path file;
  private final byte[] text;
  private final long fileSize;
  private final long dataStart;
  private final List<Entry> entries = new ArrayList<>();
  private final Map<String, String> metadata = new TreeMap<>();

  /** The tensor being parsed, for messages. */
  private String tensor;

  /** The first field of a tensor that is none of the three, if there is one. */
  private String unknownField;

  private StrictJson json;

  HeaderParser(Path file, byte[] text, long fileSize) {
    this.file = file;
    this.text = text;
    this.fileSize = fileSize;
    this.dataStart = SafetensorsHeader.LENGTH_BYTES + (long) text.length;
  }

  SafetensorsHeader parse() throws MalformedModelException {
    try (StrictJson opened = StrictJson.of(text)) {
      json = opened;
      parseObject();
      checkLayout();
    } catch (JsonException e) {
      String rule =
          switch (e.kind()) {
            case ENCODING -> "ST-UTF8";
            case SYNTAX -> "ST-JSON";
            case DUPLICATE -> "ST-DUP";
            case DEPTH -> "ST-JSON-DEPTH";
          };
      throw malformed(rule, e.offset(), "the header is " + e.getMessage());
    }
    List<TensorInfo> tensors = new ArrayList<>(entries.size());
    ImmutableMap.Builder<String, Long> offsets = ImmutableMap.builderWithExpectedSize(entries.size());
    for (Entry entry : entries) {
      tensors.add(entry.info);
      offsets.put(entry.info.name(), dataStart + entry.begin);
    }
    if (unknownField != null) {
      LOG.log(
          System.Logger.Level.WARNING,
          Paths.prefix(file) + "the header has the field " + Names.quote(unknownField) + ", which is not known and not kept in outputs");
    }
    return new SafetensorsHeader(tensors, metadata, offsets.buildOrThrow(), dataStart);
  }

  private void parseObject() throws JsonException, MalformedModelException {
    JsonToken first = json.next();
    if (first == null) {
      throw malformed("ST-JSON", 0, "expected a JSON object as header, found " + text.length + " bytes without one");
    }
    if (first != JsonToken.START_OBJECT) {
      String found = json.found();
      json.skip();
      throw malformed("ST-JSON-OBJ", 0, "expected a JSON object as header, found " + found);
    }
    while (json.next() == JsonToken.FIELD_NAME) {
      String name = json.text();
      long position = json.position();
      json.next();
      if (name.equals(SafetensorsHeader.METADATA)) {
        parseMetadata();
      } else {
        tensor = name;
        entries.add(parseEntry(position));
      }
    }
    checkPadding();
    json.end();
  }

  /** Gives zeros after the object a rule of their own: other tools pad with them, and they are no JSON. */
  private void checkPadding() throws MalformedModelException {
    int end = json.offsetAfter();
    for (int i = end; i < text.length; i++) {
      if (text[i] != 0) {
        return;
      }
    }
    if (end == text.length) {
      return;
    }
    long dataEnd = entries.stream().mapToLong(Entry::end).max().orElse(0);
    if (dataEnd == fileSize - dataStart) {
      throw malformed("ST-JSON-PAD", end, "the header is padded with zeros, expected blanks");
    }
    throw malformed("ST-JSON", end, "the header is not JSON: zeros follow its object, so its length reaches into the data");
  }

  private void parseMetadata() throws JsonException, MalformedModelException {
    requireMetadata(JsonToken.START_OBJECT, "an object");
    while (json.next() == JsonToken.FIELD_NAME) {
      if (metadata.size() == MOST_METADATA) {
        throw malformed("ST-META", json.position(), "__metadata__ has more than " + MOST_METADATA + " entries");
      }
      String key = json.text();
      json.next();
      requireMetadata(JsonToken.VALUE_STRING, "text for the key " + Names.quote(key));
      metadata.put(key, json.text());
    }
  }

  private void requireMetadata(JsonToken expected, String what) throws JsonException, MalformedModelException {
    if (!json.is(expected)) {
      long offset = json.offset();
      String found = json.found();
      json.skip();
      throw malformed("ST-META", offset, "__metadata__: expected " + what + ", found " + found);
    }
  }

  private Entry parseEntry(long position) throws JsonException, MalformedModelException {
    require(JsonToken.START_OBJECT, "ST-INFO", "an object with dtype, shape and data_offsets");
    DType dtype = null;
    long[] dimensions = null;
    long[] range = null;
    while (json.next() == JsonToken.FIELD_NAME) {
      String field = json.text();
      json.next();
      switch (field) {
        case "dtype" -> dtype = parseDtype();
        case "shape" -> dimensions = parseNumbers("ST-SHAPE", "shape", HIGHEST_RANK);
        case "data_offsets" -> range = parseNumbers("ST-OFFSETS", "data_offsets", 2);
        // Later versions of the format may say more of a tensor.
        default -> {
          if (unknownField == null) {
            unknownField = field;
          }
          json.skip();
        }
      }
    }
    if (dtype == null || dimensions == null || range == null) {
      String missing = dtype == null ? "dtype" : dimensions == null ? "shape" : "data_offsets";
      throw tensorError("ST-INFO-FIELDS", position, "expected dtype, shape and data_offsets, " + missing + " is missing");
    }
    if (range.length != 2) {
      throw tensorError("ST-OFFSETS", position, "expected 2 numbers as data_offsets, found " + range.length);
    }
    return checkEntry(dtype, dimensions, range[0], range[1], position);
  }

  private DType parseDtype() throws JsonException, MalformedModelException {
    require(JsonToken.VALUE_STRING, "ST-DTYPE", "text as dtype");
    String name = json.text();
    DType dtype = DType.named(name).filter(type -> !type.isQuantised()).orElse(null);
    if (dtype == null) {
      throw tensorError(
          "ST-DTYPE",
          json.position(),
          "expected a dtype of " + Arrays.stream(DType.values()).filter(type -> !type.isQuantised()).toList() + ", found " + Names.quote(name));
    }
    return dtype;
  }

  private long[] parseNumbers(String rule, String field, int most) throws JsonException, MalformedModelException {
    require(JsonToken.START_ARRAY, rule, "an array as " + field);
    ImmutableLongArray.Builder numbers = ImmutableLongArray.builder();
    int count = 0;
    while (json.next() != JsonToken.END_ARRAY) {
      numbers.add(parseNatural(rule, field));
      count++;
      if (count > most) {
        throw tensorError(rule, json.position(), "expected at most " + most + " numbers as " + field + ", found more");
      }
    }
    return numbers.build().toArray();
  }

  private long parseNatural(String rule, String field) throws JsonException, MalformedModelException {
    String expected = "whole numbers from 0 to 2^64 - 1 in " + field;
    require(JsonToken.VALUE_NUMBER_INT, rule, expected);
    String digits = json.text();
    long value;
    try {
      value = Long.parseUnsignedLong(digits);
    } catch (NumberFormatException e) {
      throw tensorError(rule, json.position(), "expected " + expected + ", found " + json.found());
    }
    if (value < 0) {
      throw tensorError("ST-OVERFLOW", json.position(), digits + " in " + field + " is more than 2^63 - 1, the largest number read");
    }
    return value;
  }

  private Entry checkEntry(DType dtype, long[] dimensions, long begin, long end, long position) throws MalformedModelException {
    TensorInfo info;
    long bytes;
    try {
      info = new TensorInfo(tensor, dtype, Shape.of(dimensions));
      bytes = info.bytes();
    } catch (ArithmeticException e) {
      throw tensorError(
          "ST-OVERFLOW", position, "the number of bits of its shape, multiplied from the left, is more than 2^63 - 1");
    }
    if (info.elements() * dtype.bits() % 8 != 0) {
      throw tensorError(
          "ST-SUBBYTE", position, "shape " + info.shape() + " x " + dtype + " has " + info.elements() * dtype.bits() + " bits, no whole bytes");
    }
    if (end < begin) {
      throw tensorError("ST-OFFSETS-ORDER", position, "data_offsets end at " + end + ", before they begin at " + begin);
    }
    if (end - begin != bytes) {
      throw tensorError(
          "ST-SIZE",
          position,
          "shape " + info.shape() + " x " + dtype + " needs " + bytes + " bytes but data_offsets give " + (end - begin));
    }
    return new Entry(info, begin, end, position);
  }

  /** Checks that the tensors cover the data end to end, each byte once. */
  private void checkLayout() throws MalformedModelException {
    entries.sort(Comparator.comparingLong(Entry::begin).thenComparingLong(Entry::end));
    long covered = 0;
    Entry last = null;
    for (Entry entry : entries) {
      tensor = entry.info.name();
      if (entry.begin > covered) {
        throw tensorError(
            "ST-HOLE", entry.position, "its data begins at " + entry.begin + " but the tensors before it end at " + covered);
      }
      if (entry.begin < covered) {
        String other = "tensor " + Names.quote(last.info.name()) + " at " + last.begin + " to " + last.end;
        throw entry.begin == entry.end
            ? tensorError("ST-HOLE", entry.position, "without bytes, at " + entry.begin + ", it lies inside " + other)
            : tensorError("ST-OVERLAP", entry.position, "its data at " + entry.begin + " to " + entry.end + " overlaps " + other);
      }
      covered = entry.end;
      last = entry;
    }
    long present = fileSize - dataStart;
    if (covered > present) {
      throw malformed(
          "ST-EOF",
          -1,
          "truncated: the tensors need " + covered + " bytes after byte " + dataStart + " but the file has " + present + " there");
    }
    if (covered < present) {
      throw new MalformedModelException(
          file,
          "ST-TRAILING",
          dataStart + covered,
          (present - covered) + " bytes that belong to no tensor follow the last one");
    }
  }

  private void require(JsonToken expected, String rule, String what) throws JsonException, MalformedModelException {
    if (!json.is(expected)) {
      long position = json.position();
      String found = json.found();
      // Broken or endlessly nested JSON is the greater fault, and told first.
      json.skip();
      throw tensorError(rule, position, "expected " + what + ", found " + found);
    }
  }

  private MalformedModelException tensorError(String rule, long position, String message) {
    return malformed(rule, json.bytes(position), "tensor " + Names.quote(tensor) + ": " + message);
  }

  /** An error at a byte of the header, or at none if {@code offset} is negative. */
  private MalformedModelException malformed(String rule, long offset, String message) {
    return new MalformedModelException(file, rule, offset < 0 ? -1 : SafetensorsHeader.LENGTH_BYTES + offset, message);
  }
}
