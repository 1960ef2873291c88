package io.portllm.internal.quant;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;

/**
 * The grids of the IQ types: tables of short vectors, of which blocks store the numbers. They are constants of the format, as defined in
 * ggml's ggml-common.h; see THIRD-PARTY.md. The resource is made by tools/gguf_grids.py, which says how, and is read when a grid is first
 * used.
 */
enum Grid {
  IQ2_XXS(0, 256, 8, 2, 8, 25, 43),
  IQ2_XS(256, 512, 8, 2, 8, 25, 43),
  IQ2_S(768, 1024, 8, 2, 8, 25, 43),
  /** Of IQ1_S and IQ1_M. */
  IQ1(1792, 2048, 8, 2, -1, 0, 1),
  IQ3_XXS(3840, 256, 4, 3, 4, 12, 20, 28, 36, 44, 52, 62),
  IQ3_S(4096, 512, 4, 3, 1, 3, 5, 7, 9, 11, 13, 15);

  private static final String RESOURCE = "grids.bin";
  private static final String SHA_256 = "49c0f7a11a52cb893f9e735ebcdb44020343f8b320af5e6c23a8ea8d723f1e5d";

  private final int size;
  private final int dimensions;
  private final int[] codes;
  private final float[] vectors;

  Grid(int start, int size, int dimensions, int bits, int... levels) {
    this.size = size;
    this.dimensions = dimensions;
    codes = new int[size];
    vectors = new float[size * dimensions];
    for (int entry = 0; entry < size; entry++) {
      codes[entry] = Bytes.u16(Resource.BYTES, 2 * (start + entry));
      for (int i = 0; i < dimensions; i++) {
        vectors[entry * dimensions + i] = levels[codes[entry] >> bits * i & (1 << bits) - 1];
      }
    }
  }

  /** How many entries there are. */
  int size() {
    return size;
  }

  /** How many values an entry has. */
  int dimensions() {
    return dimensions;
  }

  /**
   * An entry as the numbers of its values' levels, from the first value in the low bits on: two bits each where there are eight values,
   * three where there are four.
   */
  int code(int entry) {
    return codes[entry];
  }

  /** The entries' values, one entry after the other. Not to be changed. */
  float[] vectors() {
    return vectors;
  }

  /**
   * Reads an entry, scaled.
   *
   * @param signs bit i set negates value i
   */
  void read(int entry, float scale, int signs, float[] target, int at) {
    for (int i = 0; i < dimensions; i++) {
      float value = scale * vectors[entry * dimensions + i];
      target[at + i] = Float.intBitsToFloat(Float.floatToRawIntBits(value) ^ signs >> i << 31);
    }
  }

  private static final class Resource {
    static final byte[] BYTES = load();

    private static byte[] load() {
      try (InputStream in = Grid.class.getResourceAsStream(RESOURCE)) {
        if (in == null) {
          throw new IllegalStateException("the library lacks its resource " + RESOURCE);
        }
        byte[] bytes = in.readAllBytes();
        String digest = HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
        if (!digest.equals(SHA_256)) {
          throw new IllegalStateException(
              "the library's resource " + RESOURCE + " of " + bytes.length + " bytes must have SHA-256 " + SHA_256 + " but has " + digest);
        }
        return bytes;
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      } catch (NoSuchAlgorithmException e) {
        throw new IllegalStateException(e);
      }
    }
  }
}
