package io.portllm.cli;

import io.portllm.Patch;
import io.portllm.io.PatchFile;
import io.portllm.io.PeftAdapter;
import java.io.Closeable;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Several patch files and adapter folders, open together. */
final class OpenPatches implements AutoCloseable {
  private final List<Patch> patches = new ArrayList<>();
  private final List<Closeable> files = new ArrayList<>();

  private OpenPatches() {}

  /** Opens all of them, or none. */
  static OpenPatches open(List<Path> paths) throws IOException {
    OpenPatches opened = new OpenPatches();
    try {
      for (Path path : paths) {
        opened.add(path);
      }
      return opened;
    } catch (IOException | RuntimeException e) {
      opened.close();
      throw e;
    }
  }

  private void add(Path path) throws IOException {
    if (Adapter.isGguf(path)) {
      throw new IllegalArgumentException(
          "[" + path + "] is a GGUF adapter, which needs its base: make a patch file of it with diff --adapter");
    }
    if (Files.isDirectory(path)) {
      PeftAdapter adapter = PeftAdapter.open(path);
      files.add(adapter::close);
      patches.add(adapter.patch());
    } else {
      PatchFile file = PatchFile.open(path);
      files.add(file::close);
      patches.add(file.patch());
    }
  }

  /** The patches, in the order of the paths. */
  List<Patch> patches() {
    return List.copyOf(patches);
  }

  @Override
  public void close() throws IOException {
    IOException failure = null;
    for (Closeable file : files) {
      try {
        file.close();
      } catch (IOException e) {
        failure = failure == null ? e : failure;
      }
    }
    files.clear();
    if (failure != null) {
      throw failure;
    }
  }
}
