package io.portllm.internal.patch;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import com.google.common.primitives.ImmutableLongArray;
import io.portllm.AddedToken;
import io.portllm.Allow;
import io.portllm.DType;
import io.portllm.Delta;
import io.portllm.IncompatibleModelException;
import io.portllm.MergeOptions;
import io.portllm.Merger;
import io.portllm.Mismatch;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.Rounding;
import io.portllm.Shard;
import io.portllm.SideFile;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import io.portllm.Vocabulary;
import io.portllm.internal.buffer.DirectBuffers;
import io.portllm.internal.jfr.Stage;
import io.portllm.internal.kernel.Conversion;
import io.portllm.internal.kernel.FastestMerger;
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
import java.util.function.Consumer;

/** A new base with a patch on it, evaluated run by run as it is read. */
public final class PatchedModel implements DerivedModel {
  /** Bytes of one operand that are read at a time. Three operands and the result then fit the second-level cache. */
  private static final int RUN_BYTES = 512 << 10;

  private final Patch patch;
  private final ModelVersion newBase;
  private final MergeOptions options;
  private final Merger merger;
  private final Map<String, Delta> changes;
  private final Map<String, RowMap> rows;
  private final Optional<ExactBase> exactBase;
  private final List<Shard> shards;
  private final Map<String, TensorInfo> tensors;
  private final Set<ModelVersion> inputs;
  private final Factors factors = new Factors();
  private final DirectBuffers buffers = new DirectBuffers(RUN_BYTES);
  private volatile boolean closed;

  private PatchedModel(Patch patch, ModelVersion newBase, MergeOptions options) {
    Fitting.Plan plan = Fitting.plan(patch, newBase, options);
    this.patch = patch;
    this.newBase = plan.newBase();
    this.options = options;
    this.changes = plan.changes();
    this.rows = plan.rows();
    this.exactBase = patch.isExact() ? Optional.of(new ExactBase(patch, newBase)) : Optional.empty();
    this.shards = plan.shards();
    ImmutableMap.Builder<String, TensorInfo> all = ImmutableMap.builder();
    shards.forEach(shard -> shard.tensors().forEach(tensor -> all.put(tensor.name(), tensor)));
    this.tensors = all.buildOrThrow();
    this.inputs = Collections.newSetFromMap(new IdentityHashMap<>());
    changes.values().forEach(delta -> DeltaTensors.of(delta).forEach(tensor -> inputs.add(tensor.version())));
    inputs.add(this.newBase);
    long changed = tensors.values().stream().filter(tensor -> changes(tensor.name())).mapToLong(TensorInfo::elements).sum();
    this.merger = options.merger() == Merger.fastest() ? FastestMerger.expecting(changed) : options.merger();
  }

  /**
   * {@code newBase} with {@code patch} on it.
   *
   * @throws IncompatibleModelException if they do not fit
   */
  public static PatchedModel of(Patch patch, ModelVersion newBase, MergeOptions options) {
    return new PatchedModel(patch, newBase, options);
  }

  @Override
  public ModelVersion newBase() {
    return newBase;
  }

  @Override
  public Optional<Patch> patch() {
    return Optional.of(patch);
  }

  @Override
  public Set<ModelVersion> inputs() {
    return Collections.unmodifiableSet(inputs);
  }

  /** What the version that is patched must be, if the patch is exact. */
  public Optional<ExactBase> exactBase() {
    return exactBase;
  }

  /**
   * Reads what is added to a run of a tensor whose change is additive.
   *
   * @param first the run's first element
   * @param count the run's elements
   * @param room as many bytes in each buffer as the run's elements take, in the type of the largest that is read
   * @param use gets the operands, which are gone when it returns
   */
  public void readOperands(TensorInfo tensor, long first, int count, DirectBuffers room, Consumer<List<Merger.Operand>> use)
      throws IOException {
    try (Operands operands = new Operands(factors, room)) {
      use.accept(operands.read(changes.get(tensor.name()), new Tensor(newBase, tensor), first, count));
    }
  }

  /**
   * Refuses weights that became infinite or NaN, or left their range where that is not allowed.
   *
   * @param first the first element that was merged
   * @param count how many were
   * @throws IncompatibleModelException naming the tensor
   */
  public void requireAllowed(TensorInfo tensor, long first, long count, Rounding rounding) {
    checked(tensor, first, count, rounding);
  }

  @Override
  public boolean changes(String tensor) {
    Delta delta = changes.get(tensor);
    return delta != null && !(delta instanceof Delta.Unchanged);
  }

  /** What is done to the tensor of this name, fitted to the new base: its tying and its tokens. */
  public Optional<Delta> change(String tensor) {
    return Optional.ofNullable(changes.get(tensor));
  }

  /** Whether rows of the tensor of this name get changes that were made to other rows. */
  public boolean movesRows(String tensor) {
    return rows.containsKey(tensor);
  }

  @Override
  public String name() {
    return newBase.name();
  }

  @Override
  public List<Shard> shards() {
    return shards;
  }

  @Override
  public List<TensorInfo> tensors() {
    return ImmutableList.copyOf(tensors.values());
  }

  @Override
  public Optional<TensorInfo> find(String name) {
    return Optional.ofNullable(tensors.get(name));
  }

  @Override
  public Map<String, String> config() {
    return newBase.config();
  }

  @Override
  public List<SideFile> sideFiles() {
    return newBase.sideFiles();
  }

  @Override
  public Vocabulary vocabulary() throws IOException {
    return newBase.vocabulary();
  }

  @Override
  public ModelVersion withTokens(List<AddedToken> tokens) throws IOException {
    ModelVersion grown = newBase.withTokens(tokens);
    return GrownModel.of(this, grown.vocabulary(), tokens, grown.sideFiles(), grown.config());
  }

  @Override
  public void verifyUnchanged() throws IOException {
    for (ModelVersion input : inputs) {
      input.verifyUnchanged();
    }
  }

  @Override
  public void close() {
    closed = true;
  }

  @Override
  public void read(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException {
    readCounting(tensor, offset, destination);
  }

  @Override
  public Rounding readCounting(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException {
    requireOpen();
    if (exactBase.isPresent()) {
      exactBase.get().require(tensor.name());
    }
    Delta delta = changes.get(tensor.name());
    if (delta == null) {
      newBase.read(tensor, offset, destination);
      return Rounding.NONE;
    }
    TensorInfo known = tensors.get(tensor.name());
    if (!tensor.equals(known) || offset < 0 || destination.remaining() > tensor.bytes() - offset) {
      throw new IllegalArgumentException(
          destination.remaining() + " bytes from byte " + offset + " do not lie within tensor " + Names.quote(tensor.name()));
    }
    if (delta instanceof Delta.Exact exact) {
      return readExactly(tensor, exact, offset, destination);
    }
    if (!tensor.dtype().isArithmetic()) {
      readBytes(tensor, delta, offset, destination);
      return Rounding.NONE;
    }
    return evaluateRuns(tensor, delta, offset, destination, false);
  }

  /**
   * Changes weights that the caller has read from the new base.
   *
   * @param tensor one of arithmetic type that this version {@link #changes}
   * @param offset the first byte, counted from the start of the tensor
   * @param weights the new base's bytes from position to limit, little-endian, which the changed ones replace
   * @return what rounding did
   * @throws IncompatibleModelException if an element overflowed and that is not allowed, or became infinite or NaN
   */
  public Rounding change(TensorInfo tensor, long offset, ByteBuffer weights) throws IOException {
    requireOpen();
    return evaluateRuns(tensor, changes.get(tensor.name()), offset, weights, true);
  }

  private void requireOpen() {
    if (closed) {
      throw new IllegalStateException(Names.quote(name()) + " with a patch was closed");
    }
  }

  /** Evaluates a range run by run; {@code given} if it holds the new base's weights already. */
  private Rounding evaluateRuns(TensorInfo tensor, Delta delta, long offset, ByteBuffer destination, boolean given) throws IOException {
    int size = tensor.dtype().bytes();
    requireWholeElements(size, offset, destination);
    int step = RUN_BYTES / Math.max(size, elementBytes(delta));
    Rounding total = Rounding.NONE;
    long first = offset / size;
    while (destination.hasRemaining()) {
      int count = Math.min(step, destination.remaining() / size);
      ByteBuffer run = destination.slice(destination.position(), count * size).order(ByteOrder.LITTLE_ENDIAN);
      Rounding counts =
          rows.containsKey(tensor.name())
              ? evaluateRows(tensor, delta, first, run, count, given)
              : evaluate(tensor, delta, first, first, run, count, given);
      total = total.plus(counts);
      destination.position(destination.position() + count * size);
      first += count;
    }
    return total;
  }

  private Rounding readExactly(TensorInfo tensor, Delta.Exact delta, long offset, ByteBuffer destination) throws IOException {
    DType type = tensor.dtype();
    if (type.blockElements() == 1) {
      requireWholeElements(type.bytes(), offset, destination);
    }
    long elements = (long) destination.remaining() * type.blockElements() / type.blockBytes();
    delta.change().read(newBase.tensor(tensor.name()), offset, destination);
    return new Rounding(elements, 0, 0, 0);
  }

  private static void requireWholeElements(int size, long offset, ByteBuffer destination) {
    if (offset % size != 0 || destination.remaining() % size != 0) {
      throw new IllegalArgumentException("the range must begin and end between elements of " + size + " bytes");
    }
  }

  /** Reads a tensor of a type without arithmetic: it stays or is replaced whole. */
  private void readBytes(TensorInfo tensor, Delta delta, long offset, ByteBuffer destination) throws IOException {
    if (delta instanceof Delta.Replacement replacement) {
      // Where the new base has more rows than the replacement, the rest stay as they are.
      int covered = (int) Math.max(0, Math.min(destination.remaining(), replacement.values().info().bytes() - offset));
      if (covered > 0) {
        replacement.values().read(offset, destination.slice(destination.position(), covered));
        destination.position(destination.position() + covered);
      }
      if (destination.hasRemaining()) {
        newBase.read(tensor, offset + covered, destination);
      }
    } else {
      Equality.require(tensor.name(), (Delta.Unchanged) delta, offset, destination.remaining(), buffers);
      newBase.read(tensor, offset, destination);
    }
  }

  private static int elementBytes(Delta delta) {
    if (delta.isAdditive()) {
      return Operands.elementBytes(delta);
    }
    return DeltaTensors.of(delta).stream().mapToInt(tensor -> tensor.info().dtype().bytes()).max().orElse(1);
  }

  /** Evaluates a run whose rows get other rows of the change, as many at a time as follow on each other in both. */
  private Rounding evaluateRows(TensorInfo tensor, Delta delta, long first, ByteBuffer run, int count, boolean given) throws IOException {
    RowMap map = rows.get(tensor.name());
    long columns = tensor.shape().columns();
    int size = tensor.dtype().bytes();
    Rounding total = Rounding.NONE;
    for (int done = 0; done < count; ) {
      long row = (first + done) / columns;
      long inRow = (first + done) % columns;
      int length = (int) Math.min(count - done, (map.runEnd(row) - row) * columns - inRow);
      ByteBuffer part = run.slice(done * size, length * size).order(ByteOrder.LITTLE_ENDIAN);
      if (map.source(row) != RowMap.NONE) {
        total = total.plus(evaluate(tensor, delta, first + done, map.source(row) * columns + inRow, part, length, given));
      } else if (!given) {
        newBase.read(tensor, (first + done) * size, part);
      }
      done += length;
    }
    return total;
  }

  /**
   * Evaluates a run.
   *
   * @param first its first element
   * @param at the element of the change that the first element gets
   * @param given whether {@code run} holds the new base's weights already
   */
  private Rounding evaluate(TensorInfo tensor, Delta delta, long first, long at, ByteBuffer run, int count, boolean given) throws IOException {
    if (delta instanceof Delta.Replacement replacement) {
      return replace(tensor, replacement, first, at, run, count, given);
    }
    if (!given) {
      newBase.read(tensor, first * tensor.dtype().bytes(), run.duplicate());
    }
    if (delta instanceof Delta.RowReplacement rowReplacement) {
      return replaceRows(tensor, rowReplacement, first, at, run, count);
    }
    try (Operands operands = new Operands(factors, buffers)) {
      List<Merger.Operand> read = operands.read(delta, new Tensor(newBase, tensor), at, count);
      if (read.isEmpty()) {
        return Rounding.NONE;
      }
      Stage stage = Stage.merge(tensor.name(), run.remaining());
      Rounding rounding = merger.merge(new Merger.Chunk(tensor.dtype(), run, count), read);
      stage.done();
      return checked(tensor, first, count, rounding);
    }
  }

  private Rounding replace(TensorInfo tensor, Delta.Replacement replacement, long first, long at, ByteBuffer run, int count, boolean given)
      throws IOException {
    Tensor values = replacement.values();
    int size = tensor.dtype().bytes();
    int covered = (int) Math.max(0, Math.min(count, values.info().elements() - at));
    if (covered < count && !given) {
      newBase.read(tensor, (first + covered) * size, run.slice(covered * size, (count - covered) * size));
    }
    if (covered == 0) {
      return Rounding.NONE;
    }
    return overwrite(tensor, values, at, run.slice(0, covered * size).order(ByteOrder.LITTLE_ENDIAN), first, covered);
  }

  private Rounding replaceRows(TensorInfo tensor, Delta.RowReplacement delta, long first, long at, ByteBuffer run, int count)
      throws IOException {
    long columns = delta.shape().columns();
    int size = tensor.dtype().bytes();
    ImmutableLongArray indices = delta.indices();
    Rounding total = Rounding.NONE;
    for (int i = 0; i < indices.length(); i++) {
      long rowStart = indices.get(i) * columns;
      long from = Math.max(at, rowStart);
      long to = Math.min(at + count, rowStart + columns);
      if (from < to) {
        ByteBuffer part = run.slice((int) (from - at) * size, (int) (to - from) * size).order(ByteOrder.LITTLE_ENDIAN);
        total = total.plus(overwrite(tensor, delta.values(), i * columns + from - rowStart, part, first + from - at, (int) (to - from)));
      }
    }
    return total;
  }

  /** Puts {@code count} elements of {@code values} from element {@code at} in place of the elements from {@code first} on. */
  private Rounding overwrite(TensorInfo tensor, Tensor values, long at, ByteBuffer target, long first, int count) throws IOException {
    DType stored = values.info().dtype();
    if (stored == tensor.dtype()) {
      values.read(at * stored.bytes(), target);
      return new Rounding(count, 0, 0, 0);
    }
    ByteBuffer source = buffers.lend(count * stored.bytes());
    try {
      values.read(at * stored.bytes(), source);
      return checked(tensor, first, count, Conversion.convert(stored, source.flip(), tensor.dtype(), target, count));
    } finally {
      buffers.takeBack(source);
    }
  }

  private Rounding checked(TensorInfo tensor, long first, long count, Rounding rounding) {
    if (rounding.nonFinite() > 0) {
      throw refusal(tensor, first, count, rounding.nonFinite() + " weights became infinite or NaN", Optional.empty());
    }
    if (rounding.overflowed() > 0 && !options.allows(Allow.OVERFLOW)) {
      String what = rounding.overflowed() + " weights left the range of " + tensor.dtype();
      throw refusal(tensor, first, count, what, Optional.of(Allow.OVERFLOW));
    }
    return rounding;
  }

  private IncompatibleModelException refusal(TensorInfo tensor, long first, long count, String what, Optional<Allow> allow) {
    String message = what + " among elements " + first + " to " + (first + count - 1);
    return new IncompatibleModelException(
        "the patch does not fit " + Names.quote(name()), List.of(new Mismatch(tensor.name(), message, allow)));
  }
}
