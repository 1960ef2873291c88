package io.portllm.internal.cuda;

import static io.portllm.internal.cuda.DeviceStream.TILE;

import com.google.common.primitives.Ints;
import io.portllm.DType;
import io.portllm.Merger.Operand;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** Any operands, by tiles: each tile has the list of the operands that lie in it. */
final class TilesLaunch implements Launch {
  private final DType type;
  private final int elements;
  private final Map<Integer, List<Integer>> tiles = new TreeMap<>();
  private final Area area = new Area();
  private final Records records;
  private final int tilesAt;
  private final int offsetsAt;
  private final int placesAt;

  TilesLaunch(DType type, int elements, List<Operand> operands) {
    this.type = type;
    this.elements = elements;
    int places = 0;
    for (int number = 0; number < operands.size(); number++) {
      Operand operand = operands.get(number);
      for (int tile = operand.start() / TILE; operand.elements() > 0 && tile <= (operand.start() + operand.elements() - 1) / TILE; tile++) {
        tiles.computeIfAbsent(tile, any -> new ArrayList<>()).add(number);
        places++;
      }
    }
    this.records = new Records(operands, area);
    this.tilesAt = area.place(8L * tiles.size());
    this.offsetsAt = area.place(4L * (tiles.size() + 1));
    this.placesAt = area.place(4L * places);
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
    records.write(host, at, 0);
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
  }

  @Override
  public Starter starter() {
    DType weights = type;
    int count = elements;
    int operandsAt = records.at();
    int numbers = tilesAt;
    int offsets = offsetsAt;
    int places = placesAt;
    int tileCount = tiles.size();
    return (stream, source, target, at, counts) -> {
      if (tileCount > 0) {
        stream.mergeTiles(
            weights, source, target, count, at, at + operandsAt, at + numbers, at + offsets, at + places, tileCount, counts);
      }
    };
  }
}
