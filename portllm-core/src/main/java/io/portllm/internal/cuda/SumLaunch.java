package io.portllm.internal.cuda;

import io.portllm.DType;
import io.portllm.Merger.Difference;
import io.portllm.Merger.Operand;
import io.portllm.Merger.Values;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/** Operands that cover the same elements, in one pass: two or three runs of the weights' own type, or any. */
final class SumLaunch implements Launch {
  private static final int MOST_RUNS = 3;

  private final DType type;
  private final int elements;
  private final List<Operand> operands;
  private final Area area = new Area();
  /** Where the runs lie in the area; empty if {@link #records} says it. */
  private final List<Places> runs = new ArrayList<>();
  /** Null for runs. */
  private final Records records;

  /** Where a run's values lie, and those that are subtracted from them, or -1. */
  private record Places(int tuned, int base) {}

  SumLaunch(DType type, int elements, List<Operand> operands) {
    this.type = type;
    this.elements = elements;
    this.operands = operands;
    if (areRuns()) {
      long bytes = (long) count() * type.bytes();
      operands.forEach(operand -> runs.add(new Places(area.place(bytes), operand instanceof Difference ? area.place(bytes) : -1)));
      this.records = null;
    } else {
      this.records = new Records(operands, area);
    }
  }

  private boolean areRuns() {
    boolean areValues = operands.stream().allMatch(operand -> operand instanceof Values values && values.dtype() == type);
    boolean areDifferences = operands.stream()
        .allMatch(operand -> operand instanceof Difference run && run.tunedType() == type && run.baseType() == type);
    return operands.size() > 1 && operands.size() <= MOST_RUNS && (areValues || areDifferences);
  }

  private int start() {
    return operands.get(0).start();
  }

  private int count() {
    return operands.get(0).elements();
  }

  @Override
  public int bytes() {
    return area.bytes();
  }

  @Override
  public boolean writesAll() {
    return start() == 0 && count() == elements;
  }

  @Override
  public void write(ByteBuffer host, int at) {
    if (records != null) {
      records.write(host, at, start());
      return;
    }
    int bytes = count() * type.bytes();
    for (int i = 0; i < runs.size(); i++) {
      if (operands.get(i) instanceof Difference difference) {
        host.put(at + runs.get(i).tuned(), difference.tuned(), 0, bytes);
        host.put(at + runs.get(i).base(), difference.base(), 0, bytes);
      } else if (operands.get(i) instanceof Values values) {
        host.put(at + runs.get(i).tuned(), values.values(), 0, bytes);
      }
    }
  }

  @Override
  public Starter starter() {
    DType weights = type;
    long skipped = (long) start() * type.bytes();
    int count = count();
    if (records != null) {
      int operandsAt = records.at();
      int operandCount = operands.size();
      return (stream, source, target, at, counts) ->
          stream.mergeSum(weights, source + skipped, target + skipped, count, at, at + operandsAt, operandCount, counts);
    }
    List<Places> places = List.copyOf(runs);
    List<Float> factors = operands.stream().map(operand -> (float) operand.factor()).toList();
    return (stream, source, target, at, counts) -> {
      List<DeviceStream.Run> all = new ArrayList<>();
      for (int i = 0; i < places.size(); i++) {
        int base = places.get(i).base();
        all.add(new DeviceStream.Run(at + places.get(i).tuned(), base < 0 ? 0 : at + base, factors.get(i)));
      }
      stream.mergeRuns(weights, source + skipped, target + skipped, all, count, counts);
    };
  }
}
