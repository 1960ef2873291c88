package io.portllm.io.golden;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.ModelVersion;
import io.portllm.TensorInfo;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;

/** Where the golden files are, and comparisons with them. */
public final class Goldens {
  private Goldens() {}

  /** A file or folder under the test resources' {@code golden}. */
  public static Path path(String name) {
    try {
      return Path.of(Goldens.class.getResource("/golden").toURI()).resolve(name);
    } catch (URISyntaxException e) {
      throw new AssertionError(e);
    }
  }

  /** All bytes of a tensor, little-endian. */
  public static ByteBuffer bytes(ModelVersion model, TensorInfo tensor) throws IOException {
    ByteBuffer bytes = ByteBuffer.allocate(Math.toIntExact(tensor.bytes())).order(ByteOrder.LITTLE_ENDIAN);
    model.read(tensor, 0, bytes);
    return bytes.flip();
  }

  /** Fails at the first element of which {@code actual} has other bits than {@code expected}, and for other tensors. */
  static void assertSameBits(ModelVersion expected, ModelVersion actual) throws IOException {
    assertTrue(expected.tensors().size() > 0, "the golden has tensors");
    assertEquals(expected.tensors().size(), actual.tensors().size(), "number of tensors");
    for (TensorInfo tensor : expected.tensors()) {
      assertSameBits(tensor, bytes(expected, tensor), actual);
    }
  }

  /** Fails at the first element of which {@code actual} has other bits. */
  static void assertSameBits(TensorInfo tensor, ByteBuffer expected, ModelVersion actual) throws IOException {
    assertEquals(tensor, actual.find(tensor.name()).orElseThrow());
    ByteBuffer found = bytes(actual, tensor);
    int at = expected.mismatch(found);
    if (at >= 0) {
      int size = tensor.dtype().bytes();
      int start = at / size * size;
      assertEquals(hex(expected, start, size), hex(found, start, size), tensor.name() + " element " + at / size);
    }
  }

  private static String hex(ByteBuffer bytes, int start, int size) {
    StringBuilder text = new StringBuilder();
    for (int i = size - 1; i >= 0; i--) {
      text.append(String.format("%02x", bytes.get(start + i)));
    }
    return text.toString();
  }
}
