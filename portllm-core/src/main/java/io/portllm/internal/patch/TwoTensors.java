package io.portllm.internal.patch;

import com.google.common.collect.ImmutableList;
import io.portllm.BitChange;
import io.portllm.Fingerprint;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Optional;

/** The change from one tensor to another, both at hand. Digests are computed when they are first asked for. */
public final class TwoTensors implements BitChange {
  private final Optional<Tensor> old;
  private final Optional<Tensor> made;
  private volatile String digestOfOld;
  private volatile String digestOfMade;

  /** The change from {@code old} to {@code made}, of which one may be missing. */
  public TwoTensors(Optional<Tensor> old, Optional<Tensor> made) {
    if (old.isEmpty() && made.isEmpty()) {
      throw new IllegalArgumentException("a change must have a tensor before or after it");
    }
    this.old = old;
    this.made = made;
  }

  /** The tensor that is changed. */
  public Optional<Tensor> old() {
    return old;
  }

  /** The tensor that is made. */
  public Optional<Tensor> made() {
    return made;
  }

  @Override
  public Optional<TensorInfo> before() {
    return old.map(Tensor::info);
  }

  @Override
  public Optional<TensorInfo> after() {
    return made.map(Tensor::info);
  }

  @Override
  public String digestBefore() throws IOException {
    if (digestOfOld == null) {
      digestOfOld = digest(old);
    }
    return digestOfOld;
  }

  @Override
  public String digestAfter() throws IOException {
    if (digestOfMade == null) {
      digestOfMade = digest(made);
    }
    return digestOfMade;
  }

  private static String digest(Optional<Tensor> tensor) throws IOException {
    Tensor present = tensor.orElseThrow(() -> new IllegalStateException("there is no tensor on this side of the change"));
    return Fingerprint.digest(present.version(), present.info());
  }

  @Override
  public List<Tensor> inputs() {
    return ImmutableList.<Tensor>builder().addAll(old.stream().iterator()).addAll(made.stream().iterator()).build();
  }

  @Override
  public void verify() {}

  @Override
  public void read(Optional<Tensor> given, long offset, ByteBuffer destination) throws IOException {
    made.orElseThrow().read(offset, destination);
  }

  @Override
  public BitChange inverse() {
    return new TwoTensors(made, old);
  }
}
