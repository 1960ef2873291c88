package io.portllm.internal.kernel;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.internal.cuda.Device;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.List;
import java.util.zip.GZIPInputStream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The PTX among the resources. */
class GpuKernelsTest {
  @ParameterizedTest
  @ValueSource(strings = {
    "F32.75", "F16.75", "BF16.75", "F8_E4M3.75", "F8_E5M2.75", "F32.80", "F16.80", "BF16.80", "F8_E4M3.89", "F8_E5M2.89"
  })
  void thePtxWasMadeOfTheSourceThatIsHere(String which) throws Exception {
    byte[] source = Files.readAllBytes(Path.of("src/main/cuda/merge.cu"));
    String digest = HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(source));
    String ptx = ptx(which);
    assertEquals("// merge.cu sha256 " + digest, ptx.lines().findFirst().orElseThrow(), "run tools/gpu_kernels.sh");
    List<String> kernels =
        List.of(
            "values_BF16", "values2", "values3", "difference", "differences2", "differences3", "product", "exactProduct", "narrow4", "narrow8",
            "narrow16", "narrow32", "exactNarrow4", "exactNarrow16", "exactNarrow32", "sum", "tiles", "sparse", "flip");
    for (String kernel : kernels) {
      assertTrue(ptx.contains(".entry " + kernel + "("), kernel);
    }
  }

  /** Drivers refuse PTX of a newer version than their own: 7.0 is that of CUDA 11.0, and 8.1 that of 12.1. */
  @ParameterizedTest
  @CsvSource({"F32.75,7.0,sm_75", "BF16.75,7.0,sm_75", "F8_E4M3.75,7.0,sm_75", "F16.80,7.0,sm_80", "BF16.80,7.0,sm_80", "F8_E4M3.89,8.1,sm_89", "F8_E5M2.89,8.1,sm_89"})
  void thePtxServesOldDriversAndGpus(String which, String version, String target) throws IOException {
    String ptx = ptx(which);
    assertTrue(ptx.contains("\n.version " + version + "\n"));
    assertTrue(ptx.contains("\n.target " + target + "\n"));
  }

  private static String ptx(String which) throws IOException {
    try (InputStream in = Device.class.getResourceAsStream("merge." + which + ".ptx.gz"); GZIPInputStream text = new GZIPInputStream(in)) {
      return new String(text.readAllBytes(), StandardCharsets.US_ASCII);
    }
  }
}
