package io.portllm.io.internal.gguf;

import io.portllm.internal.text.Names;
import io.portllm.io.MalformedModelException;
import io.portllm.io.internal.files.ModelFolder;
import io.portllm.io.internal.files.SourceFile;
import io.portllm.io.internal.files.SourceFiles;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;

/** Finds and reads the files of a model, given one of them. */
final class PartsReader {
  private static final String NUMBER = "split.no";
  private static final String COUNT = "split.count";
  private static final String TENSORS = "split.tensors.count";

  private final SourceFiles files;

  PartsReader(SourceFiles files) {
    this.files = files;
  }

  List<GgufModel.Part> read(Path path) throws IOException {
    GgufModel.Part opened = open(path);
    OptionalLong count = opened.header().metadata().integer(COUNT);
    Optional<SplitName> name = SplitName.of(path.getFileName().toString()).filter(split -> split.count() > 1);
    if (count.orElse(0) <= 1 && name.isEmpty()) {
      return List.of(opened);
    }
    if (name.isEmpty()) {
      throw malformed(
          path,
          "GG-SPLIT-NAME",
          "the file is one of " + count.getAsLong() + " but its name does not end in -NNNNN-of-NNNNN" + GgufModel.ENDING);
    }
    if (count.isEmpty() || count.getAsLong() != name.get().count()) {
      String found = count.isPresent() ? Long.toString(count.getAsLong()) : "missing";
      throw malformed(
          path, "GG-SPLIT-FILES", "the name says that the model has " + name.get().count() + " files but " + COUNT + " is " + found);
    }
    List<GgufModel.Part> parts = readSet(path, opened, name.get());
    requireTensors(parts);
    return parts;
  }

  private List<GgufModel.Part> readSet(Path path, GgufModel.Part opened, SplitName name) throws IOException {
    Path parent = path.getParent();
    ModelFolder folder = new ModelFolder(parent == null ? path.getFileSystem().getPath("") : parent);
    for (int i = 1; i <= name.count(); i++) {
      if (!folder.has(name.file(i))) {
        throw malformed(
            path, "GG-SPLIT-FILES", "the model has " + name.count() + " files, but " + Names.quote(name.file(i)) + " is missing");
      }
    }
    List<GgufModel.Part> parts = new ArrayList<>();
    for (int i = 1; i <= name.count(); i++) {
      GgufModel.Part part = i == name.number() ? opened : openSibling(folder.file(name.file(i)));
      GgufMetadata metadata = part.header().metadata();
      requireNumber(part, "GG-SPLIT-NO", NUMBER, metadata.integer(NUMBER), i - 1);
      requireNumber(part, "GG-SPLIT-FILES", COUNT, metadata.integer(COUNT), name.count());
      parts.add(part);
    }
    return parts;
  }

  private static void requireTensors(List<GgufModel.Part> parts) throws IOException {
    long tensors = parts.stream().mapToLong(part -> part.header().tensors().size()).sum();
    GgufModel.Part first = parts.get(0);
    requireNumber(first, "GG-SPLIT-COUNT", TENSORS, first.header().metadata().integer(TENSORS), tensors);
  }

  private static void requireNumber(GgufModel.Part part, String rule, String key, OptionalLong found, long expected)
      throws MalformedModelException {
    if (found.isEmpty() || found.getAsLong() != expected) {
      String what = found.isPresent() ? "is " + found.getAsLong() : "is missing";
      throw malformed(part.file().path(), rule, "metadata '" + key + "' must be " + expected + " in this file but " + what);
    }
  }

  private GgufModel.Part open(Path path) throws IOException {
    SourceFile file = files.open(path);
    return new GgufModel.Part(file, GgufHeader.read(file));
  }

  private GgufModel.Part openSibling(Path path) throws IOException {
    try {
      return open(path);
    } catch (MalformedModelException e) {
      String message = e.getMessage();
      MalformedModelException refusal =
          new MalformedModelException(
              path,
              "GG-SPLIT-FILES",
              e.offset(),
              "the file is part of a split model, but no whole GGUF file: " + message.substring(message.indexOf("] ") + 2));
      refusal.initCause(e);
      throw refusal;
    }
  }

  private static MalformedModelException malformed(Path file, String rule, String message) {
    return new MalformedModelException(file, rule, -1, message);
  }
}
