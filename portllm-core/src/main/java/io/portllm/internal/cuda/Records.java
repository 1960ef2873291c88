package io.portllm.internal.cuda;

import io.portllm.Merger.Difference;
import io.portllm.Merger.LowRank;
import io.portllm.Merger.Operand;
import io.portllm.Merger.Values;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/** Operands and their data in an area of device memory, as merge.cu reads them. */
final class Records {
  private static final int BYTES = 64;

  private final List<Operand> operands;
  private final List<Places> data = new ArrayList<>();
  private final int at;

  /** Where the data of an operand lie: both runs of a difference, both factors of a product. */
  private record Places(int first, int second) {}

  /** Makes room for them in {@code area}. */
  Records(List<Operand> operands, Area area) {
    this.operands = operands;
    operands.forEach(operand -> data.add(placesOf(operand, area)));
    this.at = area.place((long) BYTES * operands.size());
  }

  private static Places placesOf(Operand operand, Area area) {
    long count = operand.elements();
    if (operand instanceof Values values) {
      return new Places(area.place(count * values.dtype().bytes()), 0);
    }
    if (operand instanceof Difference difference) {
      return new Places(area.place(count * difference.tunedType().bytes()), area.place(count * difference.baseType().bytes()));
    }
    LowRank product = (LowRank) operand;
    return new Places(area.place(4L * product.left().length), area.place(4L * product.right().length));
  }

  /** Where in the area the records are. */
  int at() {
    return at;
  }

  /**
   * Writes all into a buffer.
   *
   * @param to where the area begins in it
   * @param from the element that the operands' starts are counted from
   */
  void write(ByteBuffer host, int to, int from) {
    for (int number = 0; number < operands.size(); number++) {
      Operand operand = operands.get(number);
      int first = to + data.get(number).first();
      int second = to + data.get(number).second();
      if (operand instanceof Values values) {
        host.put(first, values.values(), 0, values.elements() * values.dtype().bytes());
      } else if (operand instanceof Difference difference) {
        host.put(first, difference.tuned(), 0, difference.elements() * difference.tunedType().bytes());
        host.put(second, difference.base(), 0, difference.elements() * difference.baseType().bytes());
      } else if (operand instanceof LowRank product) {
        host.slice(first, 4 * product.left().length).order(host.order()).asFloatBuffer().put(product.left());
        host.slice(second, 4 * product.right().length).order(host.order()).asFloatBuffer().put(product.right());
      }
      writeRecord(host, to + at + BYTES * number, operand, data.get(number), from);
    }
  }

  private static void writeRecord(ByteBuffer host, int at, Operand operand, Places places, int from) {
    host.putLong(at, operand.start() - from);
    host.putLong(at + 8, operand.elements());
    host.putLong(at + 16, places.first());
    host.putLong(at + 24, places.second());
    LowRank product = operand instanceof LowRank lowRank ? lowRank : null;
    host.putLong(at + 32, product == null ? 0 : product.column());
    host.putInt(at + 40, product != null ? 2 : operand instanceof Difference ? 1 : 0);
    host.putInt(at + 44, operand instanceof Values values ? Kernels.code(values.dtype())
        : operand instanceof Difference difference ? Kernels.code(difference.tunedType()) : 0);
    host.putInt(at + 48, operand instanceof Difference difference ? Kernels.code(difference.baseType()) : 0);
    host.putFloat(at + 52, (float) operand.factor());
    host.putInt(at + 56, product == null ? 0 : product.columns());
    host.putInt(at + 60, product == null ? 0 : product.rank());
  }
}
