package io.portllm.internal.cuda;

import static io.portllm.internal.cuda.DeviceStream.TILE;

import com.google.common.primitives.Ints;
import io.portllm.DType;
import io.portllm.Merger.Difference;
import io.portllm.Merger.LowRank;
import io.portllm.Merger.Operand;
import io.portllm.Merger.Values;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** Any operands, by tiles: each tile has the list of the operands that lie in it. */
final class TilesLaunch implements Launch {
  private static final int RECORD = 64;

  private final DType type;
  private final int elements;
  private final List<Operand> operands;
  private final Map<Integer, List<Integer>> tiles = new TreeMap<>();
  private final List<Places> data = new ArrayList<>();
  private final Area area = new Area();
  private final int recordsAt;
  private final int tilesAt;
  private final int offsetsAt;
  private final int placesAt;

  /** Where the data of an operand lie: both runs of a difference, both factors of a product. */
  private record Places(int first, int second) {}

  TilesLaunch(DType type, int elements, List<Operand> operands) {
    this.type = type;
    this.elements = elements;
    this.operands = operands;
    int places = 0;
    for (int number = 0; number < operands.size(); number++) {
      Operand operand = operands.get(number);
      for (int tile = operand.start() / TILE; operand.elements() > 0 && tile <= (operand.start() + operand.elements() - 1) / TILE; tile++) {
        tiles.computeIfAbsent(tile, any -> new ArrayList<>()).add(number);
        places++;
      }
      data.add(placesOf(operand));
    }
    this.recordsAt = area.place((long) RECORD * operands.size());
    this.tilesAt = area.place(8L * tiles.size());
    this.offsetsAt = area.place(4L * (tiles.size() + 1));
    this.placesAt = area.place(4L * places);
  }

  private Places placesOf(Operand operand) {
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

  @Override
  public int bytes() {
    return area.bytes();
  }

  @Override
  public boolean writesAll() {
    return false;
  }

  @Override
  public void write(ByteBuffer host, int at) {
    for (int number = 0; number < operands.size(); number++) {
      Operand operand = operands.get(number);
      int first = at + data.get(number).first();
      int second = at + data.get(number).second();
      if (operand instanceof Values values) {
        host.put(first, values.values(), 0, values.elements() * values.dtype().bytes());
      } else if (operand instanceof Difference difference) {
        host.put(first, difference.tuned(), 0, difference.elements() * difference.tunedType().bytes());
        host.put(second, difference.base(), 0, difference.elements() * difference.baseType().bytes());
      } else if (operand instanceof LowRank product) {
        host.slice(first, 4 * product.left().length).order(host.order()).asFloatBuffer().put(product.left());
        host.slice(second, 4 * product.right().length).order(host.order()).asFloatBuffer().put(product.right());
      }
    }
    int tile = 0;
    int place = 0;
    for (Map.Entry<Integer, List<Integer>> entry : tiles.entrySet()) {
      host.putLong(at + tilesAt + 8 * tile, entry.getKey());
      host.putInt(at + offsetsAt + 4 * tile++, place);
      for (int number : Ints.toArray(entry.getValue())) {
        host.putInt(at + placesAt + 4 * place++, number);
      }
    }
    host.putInt(at + offsetsAt + 4 * tile, place);
    for (int number = 0; number < operands.size(); number++) {
      writeRecord(host, at + recordsAt + RECORD * number, operands.get(number), data.get(number));
    }
  }

  private static void writeRecord(ByteBuffer host, int at, Operand operand, Places places) {
    host.putLong(at, operand.start());
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

  @Override
  public Starter starter() {
    DType weights = type;
    int count = elements;
    int records = recordsAt;
    int numbers = tilesAt;
    int offsets = offsetsAt;
    int places = placesAt;
    int tileCount = tiles.size();
    return (stream, source, target, at, counts) -> {
      if (tileCount > 0) {
        stream.mergeTiles(
            weights, source, target, count, at, at + records, at + numbers, at + offsets, at + places, tileCount, counts);
      }
    };
  }
}
