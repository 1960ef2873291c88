package io.portllm.internal.patch;

import com.google.common.collect.ImmutableList;
import io.portllm.DType;
import io.portllm.ModelVersion;
import io.portllm.Shape;
import io.portllm.Shard;
import io.portllm.SideFile;
import io.portllm.Tensor;
import io.portllm.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** A tensor that lies in no file, as the only one of a model version. Closing it frees nothing. */
public abstract class OneTensor implements ModelVersion {
  private final TensorInfo info;

  /** A tensor described by {@code info}. */
  protected OneTensor(TensorInfo info) {
    this.info = info;
  }

  /** A float32 tensor of these values in C order, which are not copied and must not change. */
  public static Tensor of(String name, Shape shape, float[] values) {
    if (values.length != shape.elements()) {
      throw new IllegalArgumentException(shape + " needs " + shape.elements() + " values but there are " + values.length);
    }
    return new Values(new TensorInfo(name, DType.F32, shape), values).tensor();
  }

  /** A tensor of these bytes, little-endian, which are not copied and must not change. */
  public static Tensor of(TensorInfo info, byte[] bytes) {
    if (bytes.length != info.bytes()) {
      throw new IllegalArgumentException(info + " needs " + info.bytes() + " bytes but there are " + bytes.length);
    }
    return new Bytes(info, bytes).tensor();
  }

  /** The tensor. */
  public final Tensor tensor() {
    return new Tensor(this, info);
  }

  /** The tensor's description. */
  protected final TensorInfo info() {
    return info;
  }

  @Override
  public final void read(TensorInfo tensor, long offset, ByteBuffer destination) throws IOException {
    if (offset < 0 || destination.remaining() > info.bytes() - offset) {
      throw new IllegalArgumentException(destination.remaining() + " bytes from byte " + offset + " do not lie within " + info);
    }
    read(offset, destination);
  }

  /** Reads bytes that lie within the tensor. */
  protected abstract void read(long offset, ByteBuffer destination) throws IOException;

  @Override
  public final String name() {
    return info.name();
  }

  @Override
  public final List<Shard> shards() {
    return ImmutableList.of(new Shard("memory", Map.of(), tensors()));
  }

  @Override
  public final List<TensorInfo> tensors() {
    return ImmutableList.of(info);
  }

  @Override
  public final Optional<TensorInfo> find(String name) {
    return name.equals(info.name()) ? Optional.of(info) : Optional.empty();
  }

  @Override
  public final Map<String, String> config() {
    return Map.of();
  }

  @Override
  public final List<SideFile> sideFiles() {
    return List.of();
  }

  @Override
  public final void close() {}

  private static final class Values extends OneTensor {
    private final float[] values;

    Values(TensorInfo info, float[] values) {
      super(info);
      this.values = values;
    }

    @Override
    protected void read(long offset, ByteBuffer destination) {
      int count = destination.remaining() / 4;
      FloatBuffer target = destination.slice().order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer();
      target.put(values, Math.toIntExact(offset / 4), count);
      destination.position(destination.position() + 4 * count);
    }
  }

  private static final class Bytes extends OneTensor {
    private final byte[] bytes;

    Bytes(TensorInfo info, byte[] bytes) {
      super(info);
      this.bytes = bytes;
    }

    @Override
    protected void read(long offset, ByteBuffer destination) {
      destination.put(bytes, Math.toIntExact(offset), destination.remaining());
    }
  }
}
