package io.portllm.io.internal.gguf;

import com.google.common.collect.ImmutableList;
import io.portllm.TensorInfo;
import io.portllm.io.MalformedModelException;
import io.portllm.io.internal.files.SourceFile;
import java.io.IOException;
import java.util.List;

/**
 * What stands before the weights of a GGUF file, checked. All numbers are little-endian; strings are a u64 length and bytes.
 *
 * <pre>
 * file     = "GGUF" version:u32 tensors:u64 entries:u64 entry* info* padding data
 * entry    = key:string type:u32 value
 * array    = type:u32 count:u64 value*
 * info     = name:string rank:u32 dimension:u64* type:u32 offset:u64
 * data     = (weights padding)*
 * </pre>
 *
 * <p>Dimensions are stored innermost first. Data begins, and every tensor in it, at a multiple of {@code general.alignment}.
 *
 * @param version 2 or 3, which have one layout
 * @param alignment a power of two
 * @param metadata the metadata
 * @param metadataEnd the byte of the file after the metadata, which begins at {@link #METADATA_START}
 * @param tensors the tensors in the order of the file's list of them, shapes as torch has them
 * @param offsets for each tensor the byte of the file at which it begins
 */
public record GgufHeader(
    int version, long alignment, GgufMetadata metadata, long metadataEnd, List<TensorInfo> tensors, List<Long> offsets) {
  /** The byte of a file at which its metadata begins. */
  public static final int METADATA_START = 24;

  /** The alignment of a file that states none. */
  static final long DEFAULT_ALIGNMENT = 32;

  /** The longest tensor name: 63 bytes. The format says 64, but llama.cpp ends names with a zero byte in 64. */
  static final int LONGEST_NAME = 63;

  /** The most dimensions of a tensor. */
  static final int MOST_DIMENSIONS = 4;

  public GgufHeader {
    tensors = ImmutableList.copyOf(tensors);
    offsets = ImmutableList.copyOf(offsets);
  }

  /**
   * Reads and checks the header of a file, and that its data is all there. Allocates nothing by a number of the file that its size does not
   * bear out.
   *
   * @throws MalformedModelException if the file breaks a rule of the format
   * @throws IOException if reading failed
   */
  public static GgufHeader read(SourceFile file) throws IOException {
    return new HeaderParser(file).parse();
  }

  /** The least multiple of {@code alignment} that is not below {@code position}. */
  static long align(long position, long alignment) {
    return Math.addExact(position, alignment - 1) & -alignment;
  }
}
