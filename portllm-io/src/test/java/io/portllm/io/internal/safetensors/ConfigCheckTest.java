package io.portllm.io.internal.safetensors;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.Shape;
import io.portllm.TensorInfo;
import io.portllm.io.Checkpoints;
import io.portllm.io.write.TestModel;
import io.portllm.io.write.Trio;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A configuration that disagrees with the shapes of tensors: a warning, and the tensors count. */
class ConfigCheckTest {
  private static final List<TensorInfo> TENSORS =
      List.of(
          new TensorInfo("model.norm.weight", DType.F32, Shape.of(16)),
          new TensorInfo("model.embed_tokens.weight", DType.F32, Shape.of(48, 16)));

  @TempDir Path dir;

  @Test
  void whatAgreesOrIsNotSaidIsSilent() {
    for (Map<String, String> config :
        List.of(
            Map.<String, String>of(),
            Map.of("vocab_size", "48"),
            Map.of("hidden_size", "16"),
            Map.of("hidden_size", "16", "vocab_size", "48"),
            Map.of("text_config.hidden_size", "16", "text_config.vocab_size", "48"),
            Map.of("hidden_size", "64", "word_embed_proj_dim", "16"))) {
      assertEquals(Optional.empty(), ConfigCheck.disagreement(config, TENSORS), config::toString);
    }
  }

  @Test
  void whatDisagreesIsNamed() {
    String expected = "config.json says hidden_size = '32', but tensor 'model.embed_tokens.weight' is [48, 16]; the tensor counts";
    assertEquals(Optional.of(expected), ConfigCheck.disagreement(Map.of("hidden_size", "32", "vocab_size", "48"), TENSORS));
    for (Map<String, String> config :
        List.of(
            Map.of("vocab_size", "49", "hidden_size", "16"),
            Map.of("text_config.vocab_size", "49", "text_config.hidden_size", "16"),
            Map.of("vocab_size", "\"a\\n\""))) {
      assertTrue(ConfigCheck.disagreement(config, TENSORS).isPresent(), config::toString);
    }
  }

  /** The port is the same bit for bit, whatever the configuration says of its shapes. */
  @Test
  void theTensorsDecide() throws IOException {
    Trio trio = Trio.of(DType.BF16);
    List<String> warnings = new ArrayList<>();
    Logger logger = Logger.getLogger(SafetensorsModel.class.getName());
    Handler handler =
        new Handler() {
          @Override
          public void publish(LogRecord logged) {
            warnings.add(logged.getMessage());
          }

          @Override
          public void flush() {}

          @Override
          public void close() {}
        };
    Level level = logger.getLevel();
    // Other tests in this JVM may have silenced the library.
    logger.setLevel(Level.WARNING);
    logger.addHandler(handler);
    try {
      byte[] right = port("right", trio, "16");
      assertEquals(List.of(), warnings);
      assertArrayEquals(right, port("wrong", trio, "4096"));
      assertEquals(3, warnings.size(), warnings::toString);
    } finally {
      logger.removeHandler(handler);
      logger.setLevel(level);
    }
  }

  private byte[] port(String name, Trio trio, String width) throws IOException {
    Path out = dir.resolve(name).resolve("out");
    try (ModelVersion tuned = open(name, trio.fineTuned(), width);
        ModelVersion base = open(name, trio.base(), width);
        ModelVersion newer = open(name, trio.newBase(), width)) {
      Checkpoints.write(Patch.from(tuned, base).applyTo(newer), out);
    }
    return Files.readAllBytes(out.resolve("model.safetensors"));
  }

  private ModelVersion open(String name, TestModel model, String width) throws IOException {
    Path folder = model.saveTo(dir.resolve(name).resolve(model.name()));
    Files.writeString(
        folder.resolve("config.json"), "{\"model_type\": \"llama\", \"tie_word_embeddings\": false, \"hidden_size\": " + width + "}");
    return Checkpoints.open(folder);
  }
}
