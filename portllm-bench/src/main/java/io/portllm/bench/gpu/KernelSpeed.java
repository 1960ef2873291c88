package io.portllm.bench.gpu;

import io.portllm.DType;
import io.portllm.Merger;
import io.portllm.Merger.Chunk;
import io.portllm.Merger.Difference;
import io.portllm.Merger.LowRank;
import io.portllm.Merger.Operand;
import io.portllm.Merger.Values;
import io.portllm.internal.cuda.Device;
import io.portllm.internal.cuda.DeviceStream;
import io.portllm.internal.cuda.DeviceStream.Run;
import io.portllm.internal.cuda.Devices;
import io.portllm.internal.kernel.Floats;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Random;

/**
 * Bytes that each kernel moves a second, beside a copy within the device: weights read and written and changes read, each once. The first
 * elements of each result are compared with those of plain Java.
 *
 * <p>Run: {@code tools/gpu.sh}
 */
public final class KernelSpeed {
  private static final DType[] TYPES = {DType.F32, DType.BF16, DType.F16, DType.F8_E4M3, DType.F8_E5M2};
  /** Bytes of a run of weights: ten times the second-level cache of an H100. */
  private static final long BYTES = 512L << 20;
  private static final int RUNS = 31;
  private static final int CHECKED = 1 << 20;
  /** Random data are made once and repeated. */
  private static final int PERIOD = 1 << 22;

  private final Device device = Devices.get();
  private final DeviceStream stream = device.newStream();
  private final long source = device.allocate(BYTES);
  private final long target = device.allocate(BYTES);
  private final long changes = device.allocate(4 * BYTES);
  private final long others = device.allocate(BYTES);
  private final long counts = device.allocate(256);
  private final ByteBuffer host = device.allocateHost(4 * PERIOD);
  private double copy;

  private KernelSpeed() {}

  /** Work to be timed. */
  private interface Work {
    void start();
  }

  /** Prints the table, of all types or those named. */
  public static void main(String[] args) {
    List<String> types = List.of(args);
    new KernelSpeed().run(Arrays.stream(TYPES).filter(type -> types.isEmpty() || types.contains(type.name())).toList());
  }

  private void run(List<DType> types) {
    System.out.printf(Locale.ROOT, "GPU: %s, runs of %d MiB of weights, medians of %d%n", device.name(), BYTES >> 20, RUNS);
    fill(DType.BF16, source, BYTES, 1);
    double millis = time(() -> stream.copy(source, target, BYTES));
    copy = 2 * BYTES / millis / 1e6;
    System.out.printf(Locale.ROOT, "%-34s %8.3f ms %7.0f GB/s%n", "copy within the device", millis, copy);
    for (DType type : types) {
      long count = BYTES / type.bytes();
      fill(type, source, BYTES, 2);
      difference(type, count);
      for (DType stored : TYPES) {
        values(type, stored, count);
      }
      stacks(type, count);
      for (int rank : new int[] {4, 8, 16, 32, 64}) {
        product(type, count, rank, false);
        product(type, count, rank, true);
      }
      sparse(type, count);
    }
    millis = time(() -> stream.flip(target, source, BYTES));
    print("flip bits", millis, 3 * BYTES, "");
  }

  private void difference(DType type, long count) {
    fill(type, changes, BYTES, 3);
    fill(type, others, BYTES, 4);
    double millis = time(() -> stream.mergeDifference(type, source, target, changes, others, count, 0.7f, counts));
    Operand operand = new Difference(0, CHECKED, 0.7, type, read(type, changes), type, read(type, others));
    print(type + " + 0.7 (ft - base)", millis, 4 * BYTES, check(type, operand));
  }

  private void values(DType type, DType stored, long count) {
    fill(stored, changes, count * stored.bytes(), 5);
    double millis = time(() -> stream.mergeValues(type, source, target, stored, changes, count, 0.7f, counts));
    Operand operand = new Values(0, CHECKED, 0.7, stored, read(stored, changes));
    print(type + " + 0.7 " + stored, millis, 2 * BYTES + count * stored.bytes(), check(type, operand));
  }

  /** Several changes in one pass: two and three of values, and two of differences. */
  private void stacks(DType type, long count) {
    List<Run> values = new ArrayList<>();
    List<Operand> operands = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      long at = changes + i * BYTES;
      float factor = 0.7f - 0.5f * i;
      fill(type, at, BYTES, 30 + i);
      values.add(new Run(at, 0, factor));
      operands.add(new Values(0, CHECKED, factor, type, read(type, at)));
      if (i > 0) {
        List<Run> runs = List.copyOf(values);
        double millis = time(() -> stream.mergeRuns(type, source, target, runs, count, counts));
        print(type + " + " + (i + 1) + " of its own type", millis, (3 + i) * BYTES, check(type, operands));
      }
    }
    fill(type, others, BYTES, 33);
    long last = changes + 2 * BYTES;
    List<Run> differences = List.of(new Run(changes, others, 0.7f), new Run(changes + BYTES, last, 0.2f));
    double millis = time(() -> stream.mergeRuns(type, source, target, differences, count, counts));
    List<Operand> both = List.of(
        new Difference(0, CHECKED, 0.7f, type, read(type, changes), type, read(type, others)),
        new Difference(0, CHECKED, 0.2f, type, read(type, changes + BYTES), type, read(type, last)));
    print(type + " + 2 of (ft - base)", millis, 6 * BYTES, check(type, both));
  }

  private void product(DType type, long count, int rank, boolean isExact) {
    int columns = 4096;
    int rows = (int) (count / columns);
    float[] left = factors(rows * rank, isExact, 6);
    float[] right = factors(rank * columns, isExact, 7);
    upload(left, changes);
    upload(right, others);
    DeviceStream.Product product = new DeviceStream.Product(changes, others, 0, columns, rank, isExact);
    double millis = time(() -> stream.mergeProduct(type, source, target, product, count, 0.7f, counts));
    Operand operand = new LowRank(0, CHECKED, 0.7, 0, columns, rank, left, right);
    String kind = isExact ? " in BF16" : " in F32";
    print(type + " + 0.7 B A, r = " + rank + kind, millis, 2 * BYTES + 4L * (left.length + right.length), check(type, operand));
  }

  /** One weight in a hundred. */
  private void sparse(DType type, long count) {
    int changed = (int) Math.min(count / 100, PERIOD);
    float[] values = factors(changed, false, 8);
    upload(values, others);
    Random random = new Random(9);
    long at = 0;
    host.clear();
    for (int first = 0; first < changed; first += PERIOD / 2) {
      int length = Math.min(PERIOD / 2, changed - first);
      for (int i = 0; i < length; i++) {
        at += 1 + random.nextInt(199);
        host.putLong(8 * i, Math.min(at, count - changed + first + i));
      }
      stream.upload(host.clear().limit(8 * length), changes + 8L * first);
      stream.synchronize();
      host.clear();
    }
    double millis = time(() -> stream.mergeSparse(type, source, target, changes, others, changed, 0.7f, counts));
    System.out.printf(Locale.ROOT, "%-34s %8.3f ms %d weights%n", type + " + 0.7 sparse", millis, changed);
  }

  /** Milliseconds on the device, the median. */
  private double time(Work work) {
    for (int i = 0; i < 3; i++) {
      work.start();
    }
    stream.clear(target, 1 << 20);
    long[] marks = new long[2 * RUNS];
    for (int i = 0; i < RUNS; i++) {
      marks[2 * i] = stream.mark();
      work.start();
      marks[2 * i + 1] = stream.mark();
    }
    stream.synchronize();
    double[] millis = new double[RUNS];
    for (int i = 0; i < RUNS; i++) {
      millis[i] = stream.millisBetween(marks[2 * i], marks[2 * i + 1]);
    }
    Arrays.sort(millis);
    return millis[RUNS / 2];
  }

  private void print(String what, double millis, long bytes, String check) {
    double rate = bytes / millis / 1e6;
    System.out.printf(Locale.ROOT, "%-34s %8.3f ms %7.0f GB/s %6.1f %% of the copy  %s%n", what, millis, rate, 100 * rate / copy, check);
  }

  private String check(DType type, Operand operand) {
    return check(type, List.of(operand));
  }

  private String check(DType type, List<Operand> operands) {
    ByteBuffer expected = read(type, source);
    Merger.scalar().merge(new Chunk(type, expected, CHECKED), operands);
    int at = expected.mismatch(read(type, target));
    return at < 0 ? "same bits" : "DIFFERS at element " + at / type.bytes();
  }

  private ByteBuffer read(DType type, long address) {
    int bytes = CHECKED * type.bytes();
    stream.download(address, host.clear().limit(bytes));
    stream.synchronize();
    return ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN).put(0, host, 0, bytes);
  }

  /** Normally distributed weights, as models have them, repeated over a run. */
  private void fill(DType type, long address, long bytes, long seed) {
    Random random = new Random(seed);
    int size = type.bytes();
    host.clear();
    for (int i = 0; i < PERIOD; i++) {
      float value = (float) random.nextGaussian() * 0.5f;
      switch (type) {
        case F32 -> host.putFloat(4 * i, value);
        case BF16 -> host.putShort(2 * i, (short) (Float.floatToRawIntBits(value) >>> 16));
        case F16 -> host.putShort(2 * i, (short) Floats.floatToF16(value));
        // Codes of magnitudes below 2, of either sign.
        default -> host.put(i, (byte) (random.nextInt(2) << 7 | random.nextInt(type == DType.F8_E4M3 ? 0x40 : 0x41)));
      }
    }
    int period = PERIOD * size;
    stream.upload(host.clear().limit(period), address);
    for (long done = period; done < bytes; done *= 2) {
      stream.copy(address, address + done, Math.min(done, bytes - done));
    }
    stream.synchronize();
  }

  private static float[] factors(int count, boolean isShort, long seed) {
    Random random = new Random(seed);
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      float value = (float) random.nextGaussian() * 0.1f;
      values[i] = isShort ? Float.intBitsToFloat(Float.floatToRawIntBits(value) & 0xffff_0000) : value;
    }
    return values;
  }

  private void upload(float[] values, long address) {
    for (int first = 0; first < values.length; first += PERIOD) {
      int length = Math.min(PERIOD, values.length - first);
      host.clear().asFloatBuffer().put(values, first, length);
      stream.upload(host.clear().limit(4 * length), address + 4L * first);
      stream.synchronize();
    }
  }
}
