package io.portllm.compress;

import com.google.common.collect.ImmutableList;
import io.portllm.IncompatibleModelException;
import io.portllm.Patch;
import io.portllm.ProgressListener;
import io.portllm.internal.compress.PatchCompression;
import java.io.IOException;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.Executor;

/**
 * Makes patches smaller. Immutable.
 *
 * <p>{@snippet :
 * Compressed small = Compressor.of(Compression.Bits.of(4)).compress(Patch.from(fineTuned, base));
 * PatchFile.write(small.patch(), Path.of("clinic.patch.safetensors"));
 * System.out.println(small.total().relativeError());
 * }
 */
public final class Compressor {
  private final Compression compression;
  private final ImmutableList<String> only;
  private final Executor executor;
  private final ProgressListener progress;

  private Compressor(Compression compression, ImmutableList<String> only, Executor executor, ProgressListener progress) {
    this.compression = Objects.requireNonNull(compression, "compression");
    this.only = only;
    this.executor = Objects.requireNonNull(executor, "executor");
    this.progress = Objects.requireNonNull(progress, "progress");
  }

  /**
   * Compresses the changes of tensors of two and more dimensions in this way, on the calling thread, and keeps others whole: norms and
   * biases are small and sensitive. With 1 bit and in bands it keeps embeddings and heads whole too, as BitDelta does, and in any case
   * changes that are stored in less than their tensor's size already: low rank, rows, quantised and sparse.
   */
  public static Compressor of(Compression compression) {
    return new Compressor(compression, ImmutableList.of(), Runnable::run, ProgressListener.NONE);
  }

  /**
   * This compressor for the tensors whose name matches one of {@code globs}, whatever their shape and kind of change, and no others.
   *
   * @param globs patterns in which {@code *} stands for any characters and {@code ?} for one
   */
  public Compressor only(String... globs) {
    return new Compressor(compression, ImmutableList.copyOf(globs), executor, progress);
  }

  /** This compressor with the tensors' work given to {@code other}, one task for each tensor. The outcome does not depend on it. */
  public Compressor withExecutor(Executor other) {
    return new Compressor(compression, only, other, progress);
  }

  /** This compressor with a listener, told of the tensors' sizes in float32. */
  public Compressor withProgress(ProgressListener listener) {
    return new Compressor(compression, only, executor, listener);
  }

  /** How changes are compressed. */
  public Compression compression() {
    return compression;
  }

  /** The patterns of the tensors that are compressed; none for the default choice. */
  public List<String> globs() {
    return only;
  }

  /**
   * Compresses a patch. Reads all its changes a few times, in parts: memory does not grow with the model, but for 16 bytes for each
   * 32,768 weights where density is limited, and for the codes of bands, which are held, beside what {@link
   * io.portllm.extract.LowRankExtraction} needs of their number. Changes of zero are left out; replacements stay as they are.
   *
   * @return the patch, and the exact error of each tensor
   * @throws IncompatibleModelException if changes are infinite or NaN, with their number in every tensor
   * @throws IllegalStateException if a change depends on the weights of the new base
   * @throws IllegalArgumentException if a pattern matches no tensor
   * @throws java.util.concurrent.CancellationException if the calling thread was interrupted
   * @throws IOException if reading failed
   */
  public Compressed compress(Patch patch) throws IOException {
    return new PatchCompression(compression, only, executor, progress).compress(patch);
  }
}
