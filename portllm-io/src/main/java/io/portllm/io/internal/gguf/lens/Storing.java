package io.portllm.io.internal.gguf.lens;

import io.portllm.Allow;
import io.portllm.DType;
import io.portllm.IncompatibleModelException;
import io.portllm.MergeOptions;
import io.portllm.Mismatch;
import io.portllm.ModelVersion;
import io.portllm.Rounding;
import io.portllm.TensorInfo;
import io.portllm.internal.kernel.Floats;
import io.portllm.internal.patch.PatchedModel;
import io.portllm.internal.quant.BlockCodecs;
import io.portllm.internal.text.Names;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Optional;

/** Reads a run of a GGUF tensor, changes it, and encodes it as it is written. Safe for use by many threads. */
final class Storing {
  private final ModelVersion file;
  private final PatchedModel patched;
  private final MergeOptions options;
  private final Change change;
  private final Decoding decoding;

  Storing(ModelVersion file, PatchedModel patched, MergeOptions options) {
    this.file = file;
    this.patched = patched;
    this.options = options;
    this.change = new Change(patched);
    this.decoding = new Decoding(file);
  }

  /**
   * Reads a changed run.
   *
   * @param first its first element, counted from the start of the tensor
   * @param count its elements: whole blocks of the type that is written, within {@code stretch}
   * @param destination receives the run
   */
  GgufStoredModel.Outcome read(
      GgufStoredModel.Target target, Stretch stretch, long first, int count, Scratch scratch, ByteBuffer destination) throws IOException {
    DType seen = patched.find(stretch.source()).orElseThrow().dtype();
    DType written = target.info().dtype();
    decode(target, stretch, first, count, seen, scratch);
    Rounding rounding =
        patched.changes(stretch.source()) ? change.run(stretch, first - stretch.ggufStart(), count, scratch) : copy(count * seen.bytes(), scratch);
    if (written.isQuantised()) {
      return quantise(target, first, count, stretch.shift(), scratch, rounding, destination);
    }
    if (seen == written && stretch.shift() == 0) {
      destination.put(0, scratch.after, 0, count * seen.bytes());
      return new GgufStoredModel.Outcome(rounding, Optional.empty());
    }
    Rounding stored = rounding.plus(convert(target, count, seen, stretch.shift(), scratch, destination));
    check(target.info(), first, count, stored.overflowed() - rounding.overflowed());
    return new GgufStoredModel.Outcome(stored, Optional.empty());
  }

  private static Rounding copy(int bytes, Scratch scratch) {
    scratch.after.put(0, scratch.before, 0, bytes);
    return Rounding.NONE;
  }

  /** Reads the run as patches see it, and unless it is to be of another type, its bytes. */
  private void decode(GgufStoredModel.Target target, Stretch stretch, long first, int count, DType seen, Scratch scratch) throws IOException {
    DType type = target.old().dtype();
    float[] values = scratch.beforeValues;
    if (target.info().equals(target.old())) {
      int bytes = count / type.blockElements() * type.blockBytes();
      file.read(target.old(), first / type.blockElements() * type.blockBytes(), scratch.stored.clear().limit(bytes));
      scratch.stored.clear();
      if (seen == type && stretch.shift() == 0) {
        scratch.before.put(0, scratch.stored, 0, bytes);
        return;
      }
      if (type.isQuantised()) {
        BlockCodecs.of(type).dequantise(scratch.stored, 0, values, 0, count);
      } else {
        Floats.read(type, scratch.stored, 0, values, count, scratch.bits);
      }
    } else {
      decoding.read(target.old(), first, count, values, scratch.bits);
    }
    add(-stretch.shift(), values, count);
    if (seen == DType.F32) {
      scratch.before.clear().asFloatBuffer().put(0, values, 0, count);
    } else {
      Floats.write(seen, values, scratch.before, 0, count, scratch.bits);
    }
  }

  private static void add(float shift, float[] values, int count) {
    if (shift != 0) {
      for (int i = 0; i < count; i++) {
        values[i] += shift;
      }
    }
  }

  private GgufStoredModel.Outcome quantise(
      GgufStoredModel.Target target, long first, int count, float shift, Scratch scratch, Rounding rounding, ByteBuffer destination) {
    scratch.after.clear().asFloatBuffer().get(0, scratch.afterValues, 0, count);
    add(shift, scratch.beforeValues, count);
    add(shift, scratch.afterValues, count);
    Requantiser requantiser = new Requantiser(BlockCodecs.of(target.info().dtype()), scratch.storedValues);
    ByteBuffer old = target.info().equals(target.old()) ? scratch.stored : null;
    if (!requantiser.write(old, scratch.beforeValues, scratch.afterValues, count, destination)) {
      throw refusal(target.info(), first, count, "infinite or NaN weights cannot be quantised again", Optional.empty());
    }
    check(target.info(), first, count, requantiser.overflowed());
    Rounding stored = rounding.plus(new Rounding(0, requantiser.vanished(), requantiser.overflowed(), 0));
    return new GgufStoredModel.Outcome(stored, Optional.of(requantiser.sums()));
  }

  /** Converts what changed; the rest keeps its bits where the type stays. */
  private Rounding convert(GgufStoredModel.Target target, int count, DType seen, float shift, Scratch scratch, ByteBuffer destination) {
    DType written = target.info().dtype();
    int size = written.bytes();
    boolean sameType = target.info().equals(target.old());
    Floats.read(seen, scratch.after, 0, scratch.afterValues, count, scratch.bits);
    add(shift, scratch.afterValues, count);
    Floats.write(written, scratch.afterValues, destination, 0, count, scratch.bits);
    Floats.read(written, destination, 0, scratch.storedValues, count, scratch.bits);
    long vanished = 0;
    long overflowed = 0;
    for (int i = 0; i < count; i++) {
      boolean changed = !Elements.equal(scratch.before, scratch.after, i, seen.bytes());
      if (!changed && sameType) {
        destination.put(i * size, scratch.stored, i * size, size);
      } else if (changed && sameType && Elements.equal(scratch.stored, destination, i, size)) {
        vanished++;
      } else if (!Float.isFinite(scratch.storedValues[i]) && Float.isFinite(scratch.afterValues[i])) {
        overflowed++;
      }
    }
    return new Rounding(0, vanished, overflowed, 0);
  }

  private void check(TensorInfo tensor, long first, int count, long overflowed) {
    if (overflowed > 0 && !options.allows(Allow.OVERFLOW)) {
      throw refusal(tensor, first, count, overflowed + " weights left the range of " + tensor.dtype(), Optional.of(Allow.OVERFLOW));
    }
  }

  private IncompatibleModelException refusal(TensorInfo tensor, long first, int count, String what, Optional<Allow> allow) {
    String message = what + " among elements " + first + " to " + (first + count - 1);
    return new IncompatibleModelException(
        "the patch does not fit " + Names.quote(file.name()), List.of(new Mismatch(tensor.name(), message, allow)));
  }
}
