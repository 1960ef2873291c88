package io.portllm.internal.kernel;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.DType;
import io.portllm.internal.cuda.Device;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.zip.GZIPInputStream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The PTX among the resources. */
class GpuKernelsTest {
  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
  void thePtxWasMadeOfTheSourceThatIsHere(DType type) throws Exception {
    byte[] source = Files.readAllBytes(Path.of("src/main/cuda/merge.cu"));
    String digest = HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(source));
    String ptx = ptx(type);
    assertEquals("// merge.cu sha256 " + digest, ptx.lines().findFirst().orElseThrow(), "run tools/gpu_kernels.sh");
    for (String kernel : new String[] {"values_BF16", "difference", "product", "exactProduct", "narrow8", "exactNarrow16", "tiles", "sparse", "flip"}) {
      assertTrue(ptx.contains(".entry " + kernel + "("), kernel);
    }
  }

  /** Drivers refuse PTX of a newer version than their own: 7.0 is that of CUDA 11.0. */
  @ParameterizedTest
  @EnumSource(value = DType.class, names = {"F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
  void thePtxServesOldDriversAndGpus(DType type) throws IOException {
    String ptx = ptx(type);
    assertTrue(ptx.contains("\n.version 7.0\n"));
    assertTrue(ptx.contains("\n.target sm_75\n"));
  }

  private static String ptx(DType type) throws IOException {
    try (InputStream in = Device.class.getResourceAsStream("merge." + type + ".ptx.gz"); GZIPInputStream text = new GZIPInputStream(in)) {
      return new String(text.readAllBytes(), StandardCharsets.US_ASCII);
    }
  }
}
