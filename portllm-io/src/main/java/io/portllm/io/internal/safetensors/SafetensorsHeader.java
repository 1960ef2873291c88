package io.portllm.io.internal.safetensors;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import com.google.common.collect.ImmutableSortedMap;
import io.portllm.TensorInfo;
import io.portllm.internal.text.Names;
import io.portllm.io.MalformedModelException;
import io.portllm.io.internal.files.Lookalike;
import io.portllm.io.internal.files.Paths;
import io.portllm.io.internal.files.SourceFile;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Map;

/**
 * The header of a safetensors file, checked. Immutable.
 *
 * <pre>
 * file   = length header data
 * length = u64, little-endian: the bytes of the header, at most 100,000,000
 * header = UTF-8 JSON: {"__metadata__": {text: text}, name: {"dtype": text, "shape": [n], "data_offsets": [begin, end]}}
 * data   = the tensors, end to end, each in one place; begin and end count from the start of the data
 * </pre>
 */
public final class SafetensorsHeader {
  /** The longest header: 100,000,000 bytes, the limit of the reference implementation. */
  public static final int LONGEST = 100_000_000;

  /** The key of the free metadata, which no tensor can have. */
  static final String METADATA = "__metadata__";

  /** The bytes of the length before the header. */
  static final int LENGTH_BYTES = 8;

  private final List<TensorInfo> tensors;
  private final Map<String, String> metadata;
  private final Map<String, Long> offsets;
  private final long dataStart;

  SafetensorsHeader(List<TensorInfo> tensors, Map<String, String> metadata, Map<String, Long> offsets, long dataStart) {
    this.tensors = ImmutableList.copyOf(tensors);
    this.metadata = ImmutableSortedMap.copyOf(metadata);
    this.offsets = ImmutableMap.copyOf(offsets);
    this.dataStart = dataStart;
  }

  /**
   * Reads and checks the header of a file. Allocates nothing by a number of the file that its size does not bear out.
   *
   * @throws MalformedModelException if the file breaks a rule of the format
   * @throws IOException if reading failed
   */
  public static SafetensorsHeader read(SourceFile file) throws IOException {
    if (file.size() < LENGTH_BYTES) {
      throw malformed(
          file, "ST-LEN-8", 0, "expected the 8 bytes of a header length, found a file of " + file.size() + " bytes" + Lookalike.hint(file));
    }
    ByteBuffer prefix = ByteBuffer.allocate(LENGTH_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    file.readFully(0, prefix);
    long length = prefix.getLong(0);
    if (length < 0 || length > LONGEST) {
      throw malformed(
          file,
          "ST-LEN-MAX",
          0,
          "header length is " + Long.toUnsignedString(length) + ", more than the " + LONGEST + " allowed" + Lookalike.hint(file));
    }
    if (length > file.size() - LENGTH_BYTES) {
      throw malformed(
          file,
          "ST-LEN-FILE",
          0,
          "header length is " + length + " but only " + (file.size() - LENGTH_BYTES) + " bytes follow in a file of "
              + file.size() + " bytes" + Lookalike.hint(file));
    }
    try {
      byte[] text = new byte[(int) length];
      file.readFully(LENGTH_BYTES, ByteBuffer.wrap(text));
      return new HeaderParser(file.path(), text, file.size()).parse();
    } catch (OutOfMemoryError e) {
      // All that was allocated is garbage now; a file must not end an application whose heap is small.
      throw new IOException(Paths.prefix(file.path()) + "the header of " + length + " bytes does not fit into the memory of this JVM", e);
    }
  }

  private static MalformedModelException malformed(SourceFile file, String rule, long offset, String message) {
    return new MalformedModelException(file.path(), rule, offset, message);
  }

  /**
   * The start of a file: the length and the header. The same arguments give the same bytes: metadata first, its keys sorted, then
   * the tensors in their order, padded with blanks so that the data begins at a multiple of 8. Empty metadata is left out.
   *
   * @param tensorsInDataOrder the tensors in the order of their data, which follows end to end
   * @throws IllegalArgumentException if a name occurs twice, is {@code __metadata__} or has half of a surrogate pair, if the bits
   *     of a tensor fill no whole bytes or are of a quantised type, or if the header would be longer than {@link #LONGEST}
   */
  public static byte[] encode(List<TensorInfo> tensorsInDataOrder, Map<String, String> metadata) {
    return HeaderEncoder.encode(tensorsInDataOrder, metadata);
  }

  /** The tensors in the order of their data; those without bytes where the header has them. */
  public List<TensorInfo> tensors() {
    return tensors;
  }

  /** The free metadata, sorted by key. */
  public Map<String, String> metadata() {
    return metadata;
  }

  /** The byte of the file at which the data begins. */
  public long dataStart() {
    return dataStart;
  }

  /**
   * The byte of the file at which a tensor begins.
   *
   * @throws IllegalArgumentException if there is no such tensor
   */
  public long offsetOf(String tensor) {
    Long offset = offsets.get(tensor);
    if (offset == null) {
      throw new IllegalArgumentException("no tensor " + Names.quote(tensor));
    }
    return offset;
  }
}
