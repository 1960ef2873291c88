package io.portllm.io.internal.gguf.lens;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import com.google.common.collect.Sets;
import io.portllm.DType;
import io.portllm.MergeOptions;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.Rounding;
import io.portllm.Shard;
import io.portllm.SideFile;
import io.portllm.TensorInfo;
import io.portllm.Vocabulary;
import io.portllm.internal.patch.PatchedModel;
import io.portllm.internal.patch.StoredModel;
import io.portllm.internal.text.Names;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * A GGUF file with a patch on it, as GGUF stores it: each run is read once, decoded, changed as the patch changes the Hugging Face tensor that
 * it is of, and encoded again. What the patch does not change keeps its bytes: elements, and blocks of quantised types.
 */
public final class GgufStoredModel implements StoredModel {
  /** Elements of a transposed tensor that are changed at a time: rows enough for runs of some length in the Hugging Face tensor. */
  private static final int TRANSPOSED_RUN = 1 << 18;

  private final GgufLens lens;
  private final ModelVersion file;
  private final HuggingFaceView view;
  private final PatchedModel patched;
  private final Storing storing;
  private final Map<String, Target> targets;
  private final List<Shard> shards;
  private final Scratch.Pool pool = new Scratch.Pool(Decoding.RUN);
  private final Scratch.Pool largePool = new Scratch.Pool(TRANSPOSED_RUN);
  private volatile boolean closed;

  /**
   * A tensor as it is written.
   *
   * @param info the tensor, of the type that is written
   * @param old the tensor of the file
   * @param stretches the runs of it that the patch can change, sorted; none if it changes nothing
   */
  record Target(TensorInfo info, TensorInfo old, List<Stretch> stretches) {}

  /**
   * What was read.
   *
   * @param rounding what storing did to changed weights
   * @param sums what it did to changed blocks; none of a tensor that is not quantised
   */
  public record Outcome(Rounding rounding, Optional<BlockSums> sums) {}

  GgufStoredModel(
      GgufLens lens, ModelVersion file, HuggingFaceView view, PatchedModel patched, MergeOptions options, Map<String, Target> targets) {
    this.lens = lens;
    this.file = file;
    this.view = view;
    this.patched = patched;
    this.storing = new Storing(file, patched, options);
    this.targets = ImmutableMap.copyOf(targets);
    ImmutableList.Builder<Shard> written = ImmutableList.builder();
    for (Shard shard : file.shards()) {
      List<TensorInfo> tensors = shard.tensors().stream().map(tensor -> targets.get(tensor.name()).info()).toList();
      written.add(new Shard(shard.fileName(), shard.metadata(), tensors));
    }
    this.shards = written.build();
  }

  @Override
  public ModelVersion newBase() {
    return file;
  }

  @Override
  public Optional<Patch> patch() {
    return patched.patch();
  }

  @Override
  public Set<ModelVersion> inputs() {
    Set<ModelVersion> inputs = Collections.newSetFromMap(new IdentityHashMap<>());
    inputs.addAll(Sets.difference(patched.inputs(), Set.of(view)));
    inputs.add(file);
    return inputs;
  }

  @Override
  public boolean changes(String tensor) {
    Target target = targets.get(tensor);
    return target != null && !target.stretches().isEmpty();
  }

  @Override
  public Rounding readCounting(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException {
    return readMeasuring(tensor, offset, destination).rounding();
  }

  @Override
  public void read(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException {
    readMeasuring(tensor, offset, destination);
  }

  @Override
  public Loss measure(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException {
    Outcome outcome = readMeasuring(tensor, offset, destination);
    BlockSums sums = outcome.sums().orElse(BlockSums.NONE);
    return new Loss(outcome.rounding(), sums.change(), sums.error(), sums.overlap(), sums.changedBlocks(), sums.blocks());
  }

  /** Reads as {@link #read} does. */
  public Outcome readMeasuring(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException {
    if (closed) {
      throw new IllegalStateException(Names.quote(name()) + " with a patch was closed");
    }
    Target target = targets.get(tensor.name());
    int length = destination.remaining();
    if (target == null || !target.info().equals(tensor) || offset < 0 || length > tensor.bytes() - offset) {
      throw new IllegalArgumentException(length + " bytes from byte " + offset + " do not lie within " + tensor);
    }
    if (target.stretches().isEmpty()) {
      file.read(target.old(), offset, destination);
      return new Outcome(Rounding.NONE, Optional.empty());
    }
    int block = tensor.dtype().blockBytes();
    if (offset % block == 0 && length % block == 0) {
      return readBlocks(target, offset, destination);
    }
    long from = offset - offset % block;
    int whole = Math.toIntExact((offset + length + block - 1) / block * block - from);
    ByteBuffer blocks = ByteBuffer.allocate(whole).order(ByteOrder.LITTLE_ENDIAN);
    Outcome outcome = readBlocks(target, from, blocks);
    destination.put(blocks.array(), (int) (offset - from), length);
    return outcome;
  }

  private Outcome readBlocks(Target target, long offset, ByteBuffer destination) throws IOException {
    DType type = target.info().dtype();
    long first = offset / type.blockBytes() * type.blockElements();
    long end = first + (long) destination.remaining() / type.blockBytes() * type.blockElements();
    Rounding rounding = Rounding.NONE;
    BlockSums sums = BlockSums.NONE;
    int next = 0;
    for (long at = first; at < end; ) {
      while (target.stretches().get(next).ggufEnd() <= at) {
        next++;
      }
      Stretch stretch = target.stretches().get(next);
      int count = (int) (Math.min(end, runEnd(stretch, at)) - at);
      int bytes = count / type.blockElements() * type.blockBytes();
      ByteBuffer run = destination.slice(destination.position(), bytes).order(ByteOrder.LITTLE_ENDIAN);
      Outcome outcome = readRun(target, stretch, at, count, run);
      rounding = rounding.plus(outcome.rounding());
      sums = sums.plus(outcome.sums().orElse(BlockSums.NONE));
      destination.position(destination.position() + bytes);
      at += count;
    }
    return new Outcome(rounding, type.isQuantised() ? Optional.of(sums) : Optional.empty());
  }

  /** Where the run that begins at {@code element} ends at the latest: between blocks of every type, and of a transposed tensor between rows. */
  private static long runEnd(Stretch stretch, long element) {
    long end = element - element % Decoding.RUN + Decoding.RUN;
    if (stretch.form() == Stretch.Form.TRANSPOSED) {
      long rowLength = stretch.rowLength();
      long inRow = (element - stretch.ggufStart()) % rowLength;
      long rows = TRANSPOSED_RUN / rowLength;
      end = inRow != 0 || rows == 0 ? Math.min(element - inRow + rowLength, element + TRANSPOSED_RUN) : element + rows * rowLength;
    }
    return Math.min(end, stretch.ggufEnd());
  }

  private Outcome readRun(Target target, Stretch stretch, long first, int count, ByteBuffer destination) throws IOException {
    if (!patched.changes(stretch.source()) && target.info().equals(target.old())) {
      DType type = target.old().dtype();
      file.read(target.old(), first / type.blockElements() * type.blockBytes(), destination);
      BlockSums copied = new BlockSums(0, 0, 0, 0, count / type.blockElements());
      return new Outcome(Rounding.NONE, type.isQuantised() ? Optional.of(copied) : Optional.empty());
    }
    Scratch.Pool scratches = stretch.form() == Stretch.Form.TRANSPOSED ? largePool : pool;
    Scratch scratch = scratches.lend();
    try {
      return storing.read(target, stretch, first, count, scratch, destination);
    } finally {
      scratches.takeBack(scratch);
    }
  }

  @Override
  public ModelVersion decoded() {
    return lens.of(this).decoded();
  }

  @Override
  public ModelVersion patched(Patch patch, MergeOptions options) {
    return lens.of(this).patched(patch, options);
  }

  @Override
  public String name() {
    return file.name();
  }

  @Override
  public List<Shard> shards() {
    return shards;
  }

  @Override
  public List<TensorInfo> tensors() {
    return shards.stream().flatMap(shard -> shard.tensors().stream()).collect(ImmutableList.toImmutableList());
  }

  @Override
  public Optional<TensorInfo> find(String name) {
    return Optional.ofNullable(targets.get(name)).map(Target::info);
  }

  @Override
  public Vocabulary vocabulary() throws IOException {
    return file.vocabulary();
  }

  @Override
  public Map<String, String> config() {
    return file.config();
  }

  @Override
  public List<SideFile> sideFiles() {
    return file.sideFiles();
  }

  @Override
  public void verifyUnchanged() throws IOException {
    for (ModelVersion input : inputs()) {
      input.verifyUnchanged();
    }
  }

  @Override
  public IOException malformed(TensorInfo tensor, String rule, String message) {
    return file.malformed(targets.get(tensor.name()).old(), rule, message);
  }

  @Override
  public void close() {
    closed = true;
  }
}
