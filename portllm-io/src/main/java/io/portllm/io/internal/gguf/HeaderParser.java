package io.portllm.io.internal.gguf;

import io.portllm.DType;
import io.portllm.Shape;
import io.portllm.TensorInfo;
import io.portllm.internal.text.Names;
import io.portllm.io.MalformedModelException;
import io.portllm.io.internal.files.Lookalike;
import io.portllm.io.internal.files.SourceFile;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;

/** Parses the header of one file and checks all of it before anything is handed on. */
final class HeaderParser {
  private static final String ALIGNMENT = "general.alignment";

  /** The largest alignment: 1 MiB. Files have 32, and seldom more than a page. */
  private static final long LARGEST_ALIGNMENT = 1 << 20;

  /** The least bytes of a metadata entry or of what the header says of a tensor: the length of its name. The rest is checked later. */
  private static final int LEAST_BYTES = 8;

  private final SourceFile file;
  private final Cursor cursor;
  private final List<TensorPlace> tensors = new ArrayList<>();

  /** Names as C programs see them: up to the first zero byte. */
  private final Set<String> names = new HashSet<>();

  private Optional<MalformedModelException> nameWithZero = Optional.empty();
  private long alignment = GgufHeader.DEFAULT_ALIGNMENT;
  private long paddedBytes;

  HeaderParser(SourceFile file) {
    this.file = file;
    this.cursor = new Cursor(file, 0);
  }

  GgufHeader parse() throws IOException {
    checkMagic();
    int version = parseVersion();
    long tensorCount = cursor.u64("the number of tensors");
    long entryCount = cursor.u64("the number of metadata entries");
    requireCount(tensorCount, "tensors", 8);
    requireCount(entryCount, "metadata entries", 16);
    GgufMetadata metadata = new MetadataParser(file, cursor).parse(entryCount);
    parseAlignment(metadata);
    long metadataEnd = cursor.position();
    requireCount(tensorCount, "tensors", 8);
    for (long i = 0; i < tensorCount; i++) {
      parseTensor();
    }
    if (nameWithZero.isPresent()) {
      throw nameWithZero.get();
    }
    long dataStart = GgufHeader.align(cursor.position(), alignment);
    new DataCheck(file, dataStart, alignment).check(tensors);
    return new GgufHeader(
        version,
        alignment,
        metadata,
        metadataEnd,
        tensors.stream().map(TensorPlace::info).toList(),
        tensors.stream().map(tensor -> dataStart + tensor.offset()).toList());
  }

  private void checkMagic() throws IOException {
    byte[] start = new byte[(int) Math.min(16, file.size())];
    file.readFully(0, ByteBuffer.wrap(start));
    String text = new String(start, StandardCharsets.ISO_8859_1);
    if (!text.startsWith("GGUF")) {
      throw cursor.malformed("GG-MAGIC", 0, "expected the letters GGUF, found " + Names.quote(text.substring(0, Math.min(4, text.length())))
          + hint(text));
    }
    if (file.size() < GgufHeader.METADATA_START) {
      throw cursor.malformed(
          "GG-HDR", file.size(), "the header needs " + GgufHeader.METADATA_START + " bytes but the file has " + file.size());
    }
    cursor.u32("the letters GGUF");
  }

  private String hint(String start) throws IOException {
    String letters = start.substring(0, Math.min(4, start.length())).toLowerCase(Locale.ROOT);
    return switch (letters) {
      case "ggjt", "tjgg", "ggml", "lmgg", "ggmf", "fmgg", "ggla", "algg" ->
          "; it looks like a model of llama.cpp from before GGUF, which has to be converted anew";
      case "fugg" -> "; it looks like a GGUF file whose bytes were swapped";
      case "gguf" -> "; the letters must be capitals";
      default -> start.length() > 8 && start.charAt(8) == '{' ? "; it looks like a safetensors file" : Lookalike.hint(file);
    };
  }

  private int parseVersion() throws IOException {
    int version = cursor.u32("the version");
    if (version == 2 || version == 3) {
      return version;
    }
    String why = "";
    if (version == 1) {
      why = ", whose lengths have 32 bits; convert the model anew";
    } else if ((version & 0xffff) == 0 && version != 0) {
      why = ": it is big-endian, version " + Integer.reverseBytes(version) + ", and only little-endian files are read";
    }
    throw cursor.malformed("GG-VERSION", 4, "expected version 2 or 3, found " + Integer.toUnsignedString(version) + why);
  }

  private void requireCount(long count, String what, long at) throws MalformedModelException {
    if (count < 0 || count > cursor.left() / LEAST_BYTES) {
      throw cursor.malformed(
          "GG-COUNT",
          at,
          "the header announces " + Long.toUnsignedString(count) + " " + what + " of at least " + LEAST_BYTES + " bytes, but "
              + cursor.left() + " bytes follow");
    }
  }

  private void parseAlignment(GgufMetadata metadata) throws IOException {
    Optional<ValueType> type = metadata.type(ALIGNMENT);
    if (type.isEmpty()) {
      return;
    }
    OptionalLong stated = type.get() == ValueType.U32 ? metadata.integer(ALIGNMENT) : OptionalLong.empty();
    if (stated.isEmpty() || stated.getAsLong() > LARGEST_ALIGNMENT || Long.bitCount(stated.getAsLong()) != 1) {
      String found = stated.isPresent() ? "is " + stated.getAsLong() : "is of type " + type.get();
      throw cursor.malformed(
          "GG-ALIGN",
          metadata.start(ALIGNMENT),
          "metadata '" + ALIGNMENT + "' must be a U32 that is a power of two of at most " + LARGEST_ALIGNMENT + " but " + found);
    }
    alignment = stated.getAsLong();
  }

  private void parseTensor() throws IOException {
    long at = cursor.position();
    String name = parseName(at);
    String what = "tensor " + Names.quote(name);
    long[] dimensions = parseDimensions(what);
    long typeAt = cursor.position();
    int number = cursor.u32("the type of " + what);
    DType type = TensorTypes.of(number)
        .orElseThrow(() -> cursor.malformed("GG-TTYPE", typeAt, what + " is of the unknown type " + Integer.toUnsignedString(number)));
    long innermost = dimensions.length == 0 ? 1 : dimensions[dimensions.length - 1];
    if (innermost % type.blockElements() != 0) {
      throw cursor.malformed(
          "GG-BLOCK", typeAt, what + " has rows of " + innermost + " elements, no multiple of the " + type.blockElements() + " of a " + type
              + " block");
    }
    Shape shape = shape(type, dimensions, what, at);
    long bytes = shape.elements() / type.blockElements() * type.blockBytes();
    long offsetAt = cursor.position();
    long offset = cursor.u64("the offset of " + what);
    if (offset < 0 || offset % alignment != 0) {
      throw cursor.malformed(
          "GG-OFFSET", offsetAt, what + " must begin at a multiple of " + alignment + " but begins at " + Long.toUnsignedString(offset));
    }
    tensors.add(new TensorPlace(new TensorInfo(name, type, shape), bytes, offset, at));
  }

  private String parseName(long at) throws IOException {
    long length = cursor.length("a tensor's name");
    if (length == 0 || length > GgufHeader.LONGEST_NAME) {
      throw cursor.malformed("GG-TNAME", at, "a tensor's name must have 1 to " + GgufHeader.LONGEST_NAME + " bytes but has " + length);
    }
    String name = Cursor.utf8(cursor.bytes((int) length, "a tensor's name"))
        .orElseThrow(() -> cursor.malformed("GG-TNAME", at, "a tensor's name is not UTF-8"));
    int zero = name.indexOf('\0');
    if (!names.add(zero < 0 ? name : name.substring(0, zero))) {
      throw cursor.malformed("GG-DUP", at, "tensor " + Names.quote(name) + " occurs twice" + (zero < 0 ? "" : " up to its zero byte"));
    }
    if (zero >= 0 && nameWithZero.isEmpty()) {
      // Refused at the end: that two names are one to other readers is the graver finding.
      nameWithZero = Optional.of(cursor.malformed("GG-TNAME", at, "tensor name " + Names.quote(name) + " has a zero byte"));
    }
    return name;
  }

  /** The dimensions, outermost first. */
  private long[] parseDimensions(String what) throws IOException {
    long at = cursor.position();
    int rank = cursor.u32("the number of dimensions of " + what);
    if (rank < 0 || rank > GgufHeader.MOST_DIMENSIONS) {
      throw cursor.malformed(
          "GG-NDIMS",
          at,
          what + " must have at most " + GgufHeader.MOST_DIMENSIONS + " dimensions but has " + Integer.toUnsignedString(rank));
    }
    long[] dimensions = new long[rank];
    for (int i = rank - 1; i >= 0; i--) {
      long dimensionAt = cursor.position();
      dimensions[i] = cursor.u64("the dimensions of " + what);
      if (dimensions[i] < 0) {
        throw cursor.malformed("GG-DIM", dimensionAt, what + " has the dimension " + Long.toUnsignedString(dimensions[i]));
      }
    }
    return dimensions;
  }

  /** The shape, of which the bytes can be counted, and those of all tensors so far. */
  private Shape shape(DType type, long[] dimensions, String what, long at) throws MalformedModelException {
    try {
      Shape shape = Shape.of(dimensions);
      // The reference implementation multiplies before it divides by the block; where that overflows, it sees another size.
      long bytes = Math.multiplyExact(shape.elements(), (long) type.blockBytes()) / type.blockElements();
      paddedBytes = Math.addExact(paddedBytes, GgufHeader.align(bytes, alignment));
      return shape;
    } catch (ArithmeticException e) {
      throw cursor.malformed(
          "GG-OVERFLOW", at, what + " of " + type + " " + Arrays.toString(dimensions) + " would end beyond 2^63 - 1 bytes");
    }
  }
}
