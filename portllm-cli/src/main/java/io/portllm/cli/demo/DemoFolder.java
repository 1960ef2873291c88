package io.portllm.cli.demo;

import com.google.common.io.MoreFiles;
import com.google.common.io.RecursiveDeleteOption;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/** A folder of the bundled models; a temporary one is deleted when it is closed. */
final class DemoFolder implements AutoCloseable {
  private static final List<String> MODEL_FILES =
      List.of("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json");
  private static final List<String> ADAPTER_FILES = List.of("adapter_config.json", "adapter_model.safetensors");
  private static final List<String> PROMPT_FILES = List.of("prompts.json", "retain.json");

  private final Path path;
  private final boolean temporary;

  private DemoFolder(Path path, boolean temporary) {
    this.path = path;
    this.temporary = temporary;
  }

  static DemoFolder temporary() throws IOException {
    return new DemoFolder(Files.createTempDirectory("portllm-demo-"), true);
  }

  /**
   * A folder that stays.
   *
   * @param path made if it is not there
   * @throws FileAlreadyExistsException if something is in it
   */
  static DemoFolder kept(Path path) throws IOException {
    Files.createDirectories(path);
    try (Stream<Path> entries = Files.list(path)) {
      if (entries.findAny().isPresent()) {
        throw new FileAlreadyExistsException(path.toString(), null, "folder must be empty or absent");
      }
    }
    return new DemoFolder(path, false);
  }

  /** Where the model or adapter of this name is or will be. */
  Path of(String name) {
    return path.resolve(name);
  }

  void unpackModel(String name) throws IOException {
    unpack(name, MODEL_FILES);
  }

  void unpackAdapter(String name) throws IOException {
    unpack(name, ADAPTER_FILES);
  }

  /** Puts the prompts here that models are asked, and others that their base answers rightly. */
  void unpackPrompts() throws IOException {
    for (String file : PROMPT_FILES) {
      try (InputStream in = resource(file)) {
        Files.copy(in, of(file));
      }
    }
  }

  private void unpack(String name, List<String> files) throws IOException {
    Files.createDirectory(of(name));
    for (String file : files) {
      try (InputStream in = resource("models/" + name + "/" + file)) {
        Files.copy(in, of(name).resolve(file));
      }
    }
  }

  /** A bundled file; the caller closes it. */
  static InputStream resource(String file) {
    InputStream in = DemoFolder.class.getResourceAsStream(file);
    if (in == null) {
      throw new IllegalStateException("resource " + file + " is missing from the program");
    }
    return in;
  }

  @Override
  public void close() throws IOException {
    if (temporary) {
      MoreFiles.deleteRecursively(path, RecursiveDeleteOption.ALLOW_INSECURE);
    }
  }
}
