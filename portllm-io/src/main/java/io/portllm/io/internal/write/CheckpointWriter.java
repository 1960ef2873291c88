package io.portllm.io.internal.write;

import com.google.common.collect.Iterables;
import com.google.common.io.Closer;
import io.portllm.IncompatibleModelException;
import io.portllm.Mismatch;
import io.portllm.ModelVersion;
import io.portllm.Shard;
import io.portllm.SideFile;
import io.portllm.TensorInfo;
import io.portllm.internal.buffer.DirectBuffers;
import io.portllm.internal.patch.DerivedModel;
import io.portllm.internal.patch.ExactBase;
import io.portllm.internal.patch.PatchedModel;
import io.portllm.internal.run.Progress;
import io.portllm.internal.text.Names;
import io.portllm.io.WriteOptions;
import io.portllm.io.WriteReport;
import io.portllm.io.internal.files.StoredModel;
import io.portllm.io.internal.files.WeightFiles;
import io.portllm.io.internal.gguf.GgufModel;
import io.portllm.io.internal.gguf.NewGguf;
import io.portllm.io.internal.gguf.lens.HuggingFaceView;
import io.portllm.io.internal.record.OutputRecord;
import io.portllm.io.internal.safetensors.ShardIndex;
import java.io.IOException;
import java.io.InputStream;
import java.io.InterruptedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedByInterruptException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.stream.IntStream;

/** Writes a model version as a folder or a single file. */
public final class CheckpointWriter {
  /** Bytes of the output that one thread computes and writes at a time. */
  private static final int CHUNK_BYTES = 1 << 20;

  private final ModelVersion model;
  private final WriteOptions options;
  private final Disk disk;
  private final Weights weights;
  private final long started = System.nanoTime();

  private CheckpointWriter(ModelVersion model, WriteOptions options, Disk disk) {
    this.model = model;
    this.options = options;
    this.disk = disk;
    this.weights = new Weights(model);
  }

  /** What is done with a weight file that is on the disk. */
  private interface Finish {
    void of(Path file, Shard shard) throws IOException;
  }

  /** Writes {@code model} to a folder, or to a single file if the name of {@code output} ends in {@code .safetensors} or {@code .gguf}. */
  public static WriteReport write(ModelVersion model, Path output, WriteOptions options) throws IOException {
    return write(model, output, options, Disk.REAL);
  }

  /** Writes {@code model} to the files of {@code disk}. */
  public static WriteReport write(ModelVersion model, Path output, WriteOptions options, Disk disk) throws IOException {
    CheckpointWriter writer = new CheckpointWriter(model, options, disk);
    try {
      return writer.write(output);
    } catch (ClosedByInterruptException | InterruptedIOException e) {
      if (!Thread.currentThread().isInterrupted()) {
        throw e;
      }
      CancellationException cancelled = new CancellationException("interrupted");
      cancelled.initCause(e);
      throw cancelled;
    }
  }

  private WriteReport write(Path output) throws IOException {
    if (Thread.currentThread().isInterrupted()) {
      throw new CancellationException("interrupted");
    }
    String name = String.valueOf(output.getFileName());
    boolean isGguf = name.endsWith(GgufModel.ENDING);
    if (!isGguf && !name.endsWith(WeightFiles.SAFETENSORS)) {
      return writeFolder(output);
    }
    if (isGguf != (origin() instanceof GgufModel || origin() instanceof NewGguf)) {
      String formats = isGguf ? "GGUF, but %s has safetensors weights" : "safetensors, but %s is a GGUF model";
      throw new IOException("[" + output + "] is named as " + String.format(formats, Names.quote(model.name()))
          + "; models are written in the format that they are in");
    }
    if (model.shards().size() != 1) {
      throw new IOException("[" + output + "] is one file, but " + Names.quote(model.name()) + " has " + model.shards().size()
          + " weight files; name a folder");
    }
    if (GgufModel.isPartName(name)) {
      throw new IOException("[" + output + "] has the name of one file of several, but " + Names.quote(model.name()) + " has one");
    }
    return writeFile(output);
  }

  private WriteReport writeFile(Path target) throws IOException {
    try (Output output = new Output(target, false, options.overwrites(), false, disk)) {
      requireRoom(target, totalBytes());
      requireExactBases();
      writeShards(Map.of(output.temporary(), Iterables.getOnlyElement(model.shards())), (file, shard) -> {});
      if (options.records()) {
        writeWhole(output.temporaryRecord(), new Recorder(model).record(output.temporary(), target, inputs(model), options));
      }
      model.verifyUnchanged();
      output.commit();
    }
    return report(target, List.of(), List.of());
  }

  private WriteReport writeFolder(Path target) throws IOException {
    refuseAroundInputs(target);
    boolean resumes = options.resumableWork().isPresent();
    try (Output output = new Output(target, true, options.overwrites(), resumes, disk);
        Resumption resumption = new Resumption(model, inputs(model), options, weights, output, disk)) {
      Path folder = output.temporary();
      Map<Path, Shard> files = places(folder);
      requireRoom(target, totalBytes() - resumption.takeOver(files));
      try {
        requireExactBases();
        writeShards(files, resumption::finished);
      } catch (IncompatibleModelException e) {
        // The same work would be refused again.
        resumption.end();
        throw e;
      }
      for (SideFile side : model.sideFiles()) {
        copy(side, folder);
      }
      Optional<byte[]> index = IndexFile.of(model);
      if (index.isPresent()) {
        writeWhole(folder.resolve(ShardIndex.FILE_NAME), index.get());
      }
      if (options.records() && !model.shards().isEmpty()) {
        writeWhole(folder.resolve(OutputRecord.NAME), new Recorder(model).record(folder, target, inputs(model), options));
      }
      model.verifyUnchanged();
      resumption.end();
      output.commit();
      return report(target, resumption.taken(), resumption.refused());
    }
  }

  /** Where each weight file goes. */
  private Map<Path, Shard> places(Path folder) throws IOException {
    Map<Path, Shard> files = new LinkedHashMap<>();
    for (Shard shard : model.shards()) {
      if (files.put(placeOf(shard.fileName(), folder), shard) != null) {
        throw new IllegalArgumentException("two weight files of " + Names.quote(model.name()) + " are called "
            + Names.quote(shard.fileName()));
      }
    }
    return files;
  }

  /** Compares the models that exact patches are applied to with those that they were made on, before anything is written. */
  private void requireExactBases() throws IOException {
    for (ModelVersion at = model; at instanceof DerivedModel derived; at = derived.newBase()) {
      if (at instanceof PatchedModel patched && patched.exactBase().isPresent()) {
        requireExactBase(patched.exactBase().get());
      }
    }
  }

  private void requireExactBase(ExactBase base) throws IOException {
    List<TensorInfo> tensors = base.tensors();
    Progress progress = new Progress(options.progress(), tensors.stream().mapToLong(TensorInfo::bytes).sum());
    // A tensor before the first that is known to differ is always compared, so that the one named does not depend on threads.
    ConcurrentSkipListMap<Integer, Mismatch> mismatches = new ConcurrentSkipListMap<>();
    List<Integer> numbers = IntStream.range(0, tensors.size()).boxed().toList();
    Parallel.run(
        options,
        Iterables.transform(
            numbers,
            i ->
                () -> {
                  if (mismatches.headMap(i).isEmpty()) {
                    base.compare(tensors.get(i).name()).ifPresent(mismatch -> mismatches.put(i, mismatch));
                    progress.add(tensors.get(i).bytes());
                  }
                }));
    if (!mismatches.isEmpty()) {
      throw base.refusal(mismatches.firstEntry().getValue());
    }
  }

  private void writeShards(Map<Path, Shard> files, Finish finish) throws IOException {
    Progress progress = new Progress(options.progress(), totalBytes());
    long takenOver = totalBytes() - files.values().stream().mapToLong(CheckpointWriter::bytes).sum();
    if (takenOver > 0) {
      progress.add(takenOver);
    }
    DirectBuffers buffers = new DirectBuffers(CHUNK_BYTES);
    try (Closer closer = Closer.create()) {
      List<ShardFile> shards = new ArrayList<>();
      files.forEach(
          (file, shard) ->
              shards.add(
                  closer.register(
                      new ShardFile(runs(shard), file, disk, buffers, progress, options.threads(), () -> finish.of(file, shard)))));
      Parallel.run(options, Iterables.concat(Iterables.transform(shards, ShardFile::tasks)));
    }
  }

  private List<Run> runs(Shard shard) {
    if (model instanceof NewGguf file) {
      return weights.gguf(shard, file.metadata());
    }
    if (!(origin() instanceof GgufModel gguf)) {
      return weights.safetensors(shard);
    }
    if (gguf.parts().size() > 1 && gguf.tensors().size() != model.tensors().size()) {
      throw new IncompatibleModelException(
          "tensors can neither be added to nor removed from a GGUF model of several files",
          List.of(
              Mismatch.of(
                  gguf.name(), "has " + gguf.tensors().size() + " tensors, and " + model.tensors().size() + " were to be written")));
    }
    return weights.gguf(shard, gguf.parts().get(model.shards().indexOf(shard)));
  }

  /** Where a file goes; makes the folder that it is in. */
  private Path placeOf(String name, Path folder) throws IOException {
    Path file = folder.resolve(name).normalize();
    if (!file.startsWith(folder) || file.equals(folder)) {
      throw new IllegalArgumentException("file " + Names.quote(name) + " does not lie within its model");
    }
    makeFolders(file.getParent());
    return file;
  }

  private void makeFolders(Path folder) throws IOException {
    if (!Files.isDirectory(folder, LinkOption.NOFOLLOW_LINKS)) {
      makeFolders(folder.getParent());
      disk.createFolder(folder);
    }
  }

  private void copy(SideFile side, Path folder) throws IOException {
    Path file = placeOf(side.name(), folder);
    try (InputStream in = side.open(); Disk.Sink out = disk.create(file)) {
      byte[] buffer = new byte[64 << 10];
      long position = 0;
      for (int read = in.read(buffer); read >= 0; read = in.read(buffer)) {
        Disk.writeFully(out, ByteBuffer.wrap(buffer, 0, read), position);
        position += read;
      }
      out.force();
    }
  }

  private void writeWhole(Path file, byte[] bytes) throws IOException {
    try (Disk.Sink out = disk.create(file)) {
      Disk.writeFully(out, ByteBuffer.wrap(bytes), 0);
      out.force();
    }
  }

  private ModelVersion origin() {
    return DerivedModel.origin(model);
  }

  /** An output below an input would change that model; an input below an output would be deleted with what the output replaces. */
  private void refuseAroundInputs(Path target) throws IOException {
    Path output = target.toAbsolutePath().normalize();
    if (output.getParent() == null || !Files.isDirectory(output.getParent())) {
      return;
    }
    Path real = Files.exists(output) ? output.toRealPath() : output.getParent().toRealPath().resolve(output.getFileName());
    for (StoredModel input : inputs(model)) {
      Path path = input.path().toRealPath();
      if (real.startsWith(path) && !real.equals(path)) {
        throw new IOException("[" + target + "] lies inside the model that is read, " + Names.quote(input.name()));
      }
      if (path.startsWith(real) && !path.equals(real)) {
        throw new IOException("[" + target + "] holds what is read, " + Names.quote(input.name()) + ", and so is not overwritten");
      }
    }
  }

  private static List<StoredModel> inputs(ModelVersion model) {
    if (model instanceof StoredModel files) {
      return List.of(files);
    }
    if (model instanceof HuggingFaceView view) {
      return inputs(view.file());
    }
    if (model instanceof DerivedModel derived) {
      return derived.inputs().stream().flatMap(input -> inputs(input).stream()).toList();
    }
    return List.of();
  }

  private void requireRoom(Path target, long bytes) throws IOException {
    long room = disk.room(target.toAbsolutePath().getParent());
    if (room < bytes) {
      throw new IOException("[" + target + "] needs " + bytes + " bytes, but the disk has " + room + " left");
    }
  }

  private static long bytes(Shard shard) {
    return shard.tensors().stream().mapToLong(TensorInfo::bytes).sum();
  }

  private long totalBytes() {
    return model.tensors().stream().mapToLong(TensorInfo::bytes).sum();
  }

  private WriteReport report(Path target, List<String> takenOver, List<String> notTakenOver) {
    Duration elapsed = Duration.ofNanos(System.nanoTime() - started);
    return new WriteReport(
        target, model.tensors().size(), totalBytes(), weights.rounding(), weights.requantisation(), takenOver, notTakenOver, elapsed);
  }
}
