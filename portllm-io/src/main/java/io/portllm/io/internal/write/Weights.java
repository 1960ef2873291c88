package io.portllm.io.internal.write;

import com.google.common.collect.Maps;
import io.portllm.ModelVersion;
import io.portllm.Rounding;
import io.portllm.Shard;
import io.portllm.TensorInfo;
import io.portllm.internal.patch.DerivedModel;
import io.portllm.internal.text.Names;
import io.portllm.io.Requantisation;
import io.portllm.io.internal.gguf.GgufModel;
import io.portllm.io.internal.gguf.GgufOutput;
import io.portllm.io.internal.gguf.NewMetadata;
import io.portllm.io.internal.gguf.lens.BlockSums;
import io.portllm.io.internal.gguf.lens.GgufStoredModel;
import io.portllm.io.internal.safetensors.SafetensorsHeader;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentSkipListMap;

/** The weight files of a model as runs of bytes, and what rounding did to the weights that were read. */
final class Weights {
  private final ModelVersion model;
  private final Map<String, Rounding> rounding = new ConcurrentHashMap<>();

  /** By tensor and offset, so that sums do not depend on which thread was first. */
  private final Map<String, ConcurrentSkipListMap<Long, BlockSums>> sums = new ConcurrentHashMap<>();

  Weights(ModelVersion model) {
    this.model = model;
  }

  /** For each changed tensor that was read, what rounding did. */
  Map<String, Rounding> rounding() {
    return rounding;
  }

  /** For each changed tensor of a quantised type that was read, what quantising it again did. */
  Map<String, Requantisation> requantisation() {
    return Maps.transformValues(sums, parts -> BlockSums.total(parts.values()));
  }

  /** What is known of the tensors of a file that is finished. */
  Journal.Finished finished(Shard shard, long bytes, String sha256) {
    Map<String, Rounding> counts = new TreeMap<>();
    Map<String, BlockSums> parts = new TreeMap<>();
    for (TensorInfo tensor : shard.tensors()) {
      Optional.ofNullable(rounding.get(tensor.name())).ifPresent(found -> counts.put(tensor.name(), found));
      Optional.ofNullable(sums.get(tensor.name())).ifPresent(found -> parts.put(tensor.name(), BlockSums.sum(found.values())));
    }
    return new Journal.Finished(shard.fileName(), bytes, sha256, counts, parts);
  }

  /** Adds what is known of the tensors of a file that is not written again. */
  void add(Journal.Finished file) {
    rounding.putAll(file.rounding());
    file.requantisation().forEach((tensor, sum) -> sums.put(tensor, new ConcurrentSkipListMap<>(Map.of(0L, sum))));
  }

  /** A safetensors file. */
  List<Run> safetensors(Shard shard) {
    List<Run> runs = new ArrayList<>();
    runs.add(Run.of(SafetensorsHeader.encode(shard.tensors(), shard.metadata())));
    shard.tensors().forEach(tensor -> runs.add(tensor(tensor)));
    return runs;
  }

  /** A GGUF file that takes the place of {@code source}. */
  List<Run> gguf(Shard shard, GgufModel.Part source) {
    return gguf(shard, GgufOutput.of(source, shard, model.name()));
  }

  /** A GGUF file of its own. */
  List<Run> gguf(Shard shard, NewMetadata metadata) {
    return gguf(shard, GgufOutput.of(metadata, shard, model.name()));
  }

  private List<Run> gguf(Shard shard, GgufOutput output) {
    List<Run> runs = new ArrayList<>();
    runs.add(new Run(output::readHeader, output.headerBytes(), 1, false));
    for (TensorInfo tensor : shard.tensors()) {
      runs.add(tensor(tensor));
      runs.add(Run.zeros(output.padding(tensor)));
    }
    return runs;
  }

  private Run tensor(TensorInfo tensor) {
    return new Run((offset, destination) -> read(tensor, offset, destination), tensor.bytes(), tensor.dtype().blockBytes(), true);
  }

  private void read(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException {
    if (model instanceof GgufStoredModel stored && stored.changes(tensor.name())) {
      GgufStoredModel.Outcome outcome = stored.readMeasuring(tensor, offset, destination);
      rounding.merge(tensor.name(), outcome.rounding(), Rounding::plus);
      outcome.sums().ifPresent(part -> sums.computeIfAbsent(tensor.name(), name -> new ConcurrentSkipListMap<>()).put(offset, part));
    } else if (model instanceof DerivedModel derived) {
      Rounding counts = derived.readCounting(tensor, offset, destination);
      if (derived.changes(tensor.name())) {
        rounding.merge(tensor.name(), counts, Rounding::plus);
      }
    } else {
      model.read(tensor, offset, destination);
    }
    if (destination.hasRemaining()) {
      throw new IOException("tensor " + Names.quote(tensor.name()) + " of " + Names.quote(model.name()) + " was not read to the end");
    }
  }
}
