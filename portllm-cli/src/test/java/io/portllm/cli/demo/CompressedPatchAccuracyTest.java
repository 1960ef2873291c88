package io.portllm.cli.demo;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.compress.Compressed;
import io.portllm.compress.Compression.Band;
import io.portllm.compress.Compression.Bands;
import io.portllm.compress.Compression.Bits;
import io.portllm.compress.Compression.Density;
import io.portllm.compress.Compressor;
import io.portllm.io.Checkpoints;
import io.portllm.io.PatchFile;
import io.portllm.io.WriteOptions;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What compression costs on a trained model: the figures of {@code docs/reference/patch-sizes.md}. */
class CompressedPatchAccuracyTest {
  @TempDir
  Path scratch;

  /**
   * A row of the table.
   *
   * @param bytes the size of the patch file's tensors but for the tokens of its rows
   * @param error the relative error, to four digits
   * @param right how many of the 250 prompts are answered rightly; 142 with the whole patch
   */
  private record Row(Compressor compressor, long bytes, double error, int right) {}

  /** Bytes of the tokens of the models' rows, which are in every patch that changes the embedding. */
  private static final int TOKENS = 941;

  @Test
  void answersAndErrorsAreAsDocumented() throws IOException {
    DemoFolder folder = DemoFolder.kept(scratch.resolve("models"));
    folder.unpackModel("v1");
    folder.unpackModel("climbs-full");
    List<Row> rows =
        List.of(
            new Row(Compressor.of(Bits.of(8)), 832_832, 0.003917, 142),
            new Row(Compressor.of(Bits.of(4)), 430_400, 0.07160, 142),
            new Row(Compressor.of(Bits.of(3)), 329_792, 0.1632, 141),
            new Row(Compressor.of(Bits.of(2)), 229_184, 0.2457, 141),
            new Row(Compressor.of(Bands.of(new Band(2, 8), new Band(8, 3), new Band(16, 2))), 365_056, 0.2177, 142),
            new Row(Compressor.of(Bands.of(new Band(2, 8), new Band(16, 3), new Band(64, 2))), 515_072, 0.1602, 142),
            new Row(Compressor.of(Bands.of(new Band(32, 1))), 320_256, 0.6403, 42),
            new Row(Compressor.of(Bands.of(new Band(4, 8), new Band(32, 4))), 471_040, 0.14775, 142),
            new Row(Compressor.of(Bits.of(1)), 364_912, 0.4798, 32),
            new Row(Compressor.of(new Bits(1, Bits.ROW)), 384_256, 0.3997, 117),
            new Row(Compressor.of(Bits.of(1)).only("*"), 100_908, 0.4984, 75),
            new Row(Compressor.of(Density.of(0.5)), 1_655_576, 0.4003, 124),
            new Row(Compressor.of(Density.of(0.3)), 1_018_460, 0.5877, 16),
            new Row(Compressor.of(Density.of(0.1)), 396_349, 0.8186, 0),
            new Row(Compressor.of(new Density(0.1, true, Optional.empty())), 396_349, 2.355, 0),
            new Row(Compressor.of(new Density(0.5, false, Optional.of(Bits.of(4)))), 308_865, 0.4046, 123),
            new Row(Compressor.of(new Density(0.3, false, Optional.of(Bits.of(1)))), 393_664, 0.5037, 24));
    List<Prompt> prompts = Prompt.bundled();
    Path file = scratch.resolve("p.patch.safetensors");
    try (ModelVersion base = Checkpoints.open(folder.of("v1"));
        ModelVersion tuned = Checkpoints.open(folder.of("climbs-full"))) {
      Patch patch = Patch.from(tuned, base);
      for (Row row : rows) {
        Compressed compressed = row.compressor().compress(patch);
        long size = PatchFile.write(compressed.patch(), file, WriteOptions.defaults().overwriting().withoutSketches()).bytes();
        ModelVersion model = compressed.patch().applyTo(base);
        LlamaModel llama = LlamaModel.read(model);
        ByteLevelTokenizer tokenizer = ByteLevelTokenizer.of(model);
        int right = (int) prompts.parallelStream().filter(prompt -> prompt.isAnsweredBy(llama, tokenizer)).count();
        String what = compressed.patch().recipe() + " of " + row.compressor().globs();
        assertEquals(row.bytes(), size - TOKENS, what);
        assertEquals(row.error(), compressed.total().relativeError(), 0.0005 * row.error(), what);
        assertEquals(row.right(), right, what);
      }
    }
    assertEquals(250, prompts.size());
  }
}
