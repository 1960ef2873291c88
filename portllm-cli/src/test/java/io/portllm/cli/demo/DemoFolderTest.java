package io.portllm.cli.demo;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DemoFolderTest {
  @Test
  void aTemporaryFolderIsGoneOnceClosed() throws IOException {
    Path model;
    try (DemoFolder folder = DemoFolder.temporary()) {
      folder.unpackModel("v1");
      model = folder.of("v1");
      assertTrue(Files.size(model.resolve("model.safetensors")) > 0);
    }
    assertFalse(Files.exists(model.getParent()));
  }

  @Test
  void aKeptFolderStays(@TempDir Path parent) throws IOException {
    try (DemoFolder folder = DemoFolder.kept(parent.resolve("new/folder"))) {
      folder.unpackAdapter("climbs-lora");
    }
    assertTrue(Files.exists(parent.resolve("new/folder/climbs-lora/adapter_config.json")));
  }

  @Test
  void aFolderWithSomethingInItIsNotTouched(@TempDir Path parent) throws IOException {
    Files.createFile(parent.resolve("mine"));
    assertThrows(FileAlreadyExistsException.class, () -> DemoFolder.kept(parent));
  }
}
