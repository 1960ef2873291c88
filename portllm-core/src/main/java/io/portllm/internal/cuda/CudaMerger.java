package io.portllm.internal.cuda;

import io.portllm.Merger;
import io.portllm.Rounding;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.util.List;

/**
 * Merges on a GPU: copies weights and changes there, and merged weights back. Calls of several threads overlap, each in a stream of its
 * own.
 */
public final class CudaMerger implements Merger {
  /** Bytes of changes that are copied at a time, give or take factors. */
  private static final int RUN_BYTES = 64 << 20;
  /** What the kernels count, before the weights. */
  private static final int COUNTS = 256;

  private final Merger cpu;
  private final Lanes lanes;
  private final String name;

  /**
   * A merger.
   *
   * @param device where to merge
   * @param cpu what merges weights that the kernels do not
   */
  public CudaMerger(Device device, Merger cpu) {
    this.cpu = cpu;
    this.lanes = new Lanes(device);
    this.name = "CUDA on " + device.name();
  }

  @Override
  public Rounding merge(Chunk chunk, List<Operand> operands) {
    if (!Kernels.runsOn(chunk.dtype()) || operands.isEmpty()) {
      return cpu.merge(chunk, operands);
    }
    int step = step(chunk, operands);
    if (step >= chunk.elements()) {
      return mergeRun(chunk, operands);
    }
    int size = chunk.dtype().bytes();
    Rounding total = Rounding.NONE;
    for (int first = 0; first < chunk.elements(); first += step) {
      int count = Math.min(step, chunk.elements() - first);
      ByteBuffer bytes = chunk.bytes().slice(first * size, count * size).order(chunk.bytes().order());
      total = total.plus(mergeRun(new Chunk(chunk.dtype(), bytes, count), Launches.part(operands, first, count)));
    }
    return total;
  }

  /** Elements that are merged at a time: whole tiles. */
  private static int step(Chunk chunk, List<Operand> operands) {
    long bytes = (long) chunk.elements() * chunk.dtype().bytes();
    for (Operand operand : operands) {
      if (operand instanceof Values values) {
        bytes += (long) values.elements() * values.dtype().bytes();
      } else if (operand instanceof Difference difference) {
        bytes += (long) difference.elements() * (difference.tunedType().bytes() + difference.baseType().bytes());
      }
    }
    long step = chunk.elements() / (bytes / RUN_BYTES + 1);
    return (int) Math.min(Integer.MAX_VALUE, (step / DeviceStream.TILE + 1) * DeviceStream.TILE);
  }

  private Rounding mergeRun(Chunk chunk, List<Operand> operands) {
    if (operands.isEmpty()) {
      return Rounding.NONE;
    }
    int bytes = chunk.elements() * chunk.dtype().bytes();
    Launch launch = Launches.of(chunk.dtype(), chunk.elements(), operands);
    Area area = new Area();
    area.place(COUNTS);
    int weights = area.place(bytes);
    int changes = area.place(launch.bytes());
    Rounding[] rounding = new Rounding[1];
    try {
      lanes.use(lane -> {
        ByteBuffer host = lane.host(area.bytes());
        for (int i = 0; i < COUNTS; i += 8) {
          host.putLong(i, 0);
        }
        host.put(weights, chunk.bytes(), 0, bytes);
        launch.write(host, changes);
        long address = lane.memory(area.bytes());
        lane.stream().upload(host, address);
        launch.starter().start(lane.stream(), address + weights, address + weights, address + changes, address);
        lane.stream().download(address, host.limit(weights + bytes));
        lane.stream().synchronize();
        chunk.bytes().put(0, host, weights, bytes);
        rounding[0] = rounding(host, 0);
      });
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return rounding[0];
  }

  /** What a kernel counted. */
  static Rounding rounding(ByteBuffer counts, int at) {
    long touched = counts.getLong(at);
    return new Rounding(touched, touched - counts.getLong(at + 8), counts.getLong(at + 16), counts.getLong(at + 24));
  }

  @Override
  public String toString() {
    return name;
  }
}
