package io.portllm.internal.quant;

import java.util.Arrays;

/**
 * The entries of a {@link Grid} that come nearest to each vector of levels, as ggml's {@code iq2xs_init_impl} and {@code iq3xs_init_impl}
 * list them: the vector's own entry, or those at the least few distances, nearest first. Distances are between numbers of levels.
 *
 * <p>Tables are made when first used, in up to half a second, and kept: 275 KB for IQ2_S, 839 KB for IQ1, 62 KB for IQ3_XXS and 73 KB for
 * IQ3_S.
 */
enum GridNeighbours {
  IQ2_S(Grid.IQ2_S, 3, 1),
  IQ1(Grid.IQ1, 3, 3),
  IQ3_XXS(Grid.IQ3_XXS, 8, 2),
  IQ3_S(Grid.IQ3_S, 8, 3);

  private final Grid grid;
  private final int levels;
  private final int distances;
  private Table table;

  GridNeighbours(Grid grid, int levels, int distances) {
    this.grid = grid;
    this.levels = levels;
    this.distances = distances;
  }

  Grid grid() {
    return grid;
  }

  /** How many levels a value can have. */
  int levels() {
    return levels;
  }

  /** The table, made by the first call. */
  synchronized Table table() {
    if (table == null) {
      table = new Builder(this).build();
    }
    return table;
  }

  /**
   * The table.
   *
   * @param entries by {@link Grid#code}: the vector's entry, or −1 − the index of its list
   * @param lists of each vector without an entry, how many entries follow, and these
   */
  record Table(int[] entries, char[] lists) {}

  private static final class Builder {
    private final Grid grid;
    private final int levels;
    private final int wanted;
    private final int bits;
    private final int[] distances;
    private char[] lists = new char[1 << 14];
    private int used;

    Builder(GridNeighbours neighbours) {
      grid = neighbours.grid;
      levels = neighbours.levels;
      wanted = neighbours.distances;
      bits = grid.dimensions() == 8 ? 2 : 3;
      distances = new int[grid.size()];
    }

    Table build() {
      int dimensions = grid.dimensions();
      int top = 0;
      for (int i = 0; i < dimensions; i++) {
        top |= levels - 1 << bits * i;
      }
      int[] entries = new int[top + 1];
      Arrays.fill(entries, Integer.MIN_VALUE);
      for (int entry = 0; entry < grid.size(); entry++) {
        entries[grid.code(entry)] = entry;
      }
      for (int code = 0; code <= top; code++) {
        if (entries[code] < 0 && isVector(code)) {
          entries[code] = -1 - used;
          list(code);
        }
      }
      return new Table(entries, Arrays.copyOf(lists, used));
    }

    private boolean isVector(int code) {
      for (int rest = code; rest != 0; rest >>= bits) {
        if ((rest & (1 << bits) - 1) >= levels) {
          return false;
        }
      }
      return true;
    }

    private void list(int code) {
      for (int entry = 0; entry < distances.length; entry++) {
        distances[entry] = distance(code, grid.code(entry));
      }
      int start = used;
      add(0);
      int last = -1;
      for (int i = 0; i < wanted; i++) {
        int next = Integer.MAX_VALUE;
        for (int distance : distances) {
          if (distance > last && distance < next) {
            next = distance;
          }
        }
        for (int entry = 0; entry < distances.length; entry++) {
          if (distances[entry] == next) {
            add(entry);
          }
        }
        last = next;
      }
      lists[start] = (char) (used - start - 1);
    }

    private int distance(int code, int other) {
      int sum = 0;
      int mask = (1 << bits) - 1;
      for (int a = code, b = other; (a | b) != 0; a >>= bits, b >>= bits) {
        int difference = (a & mask) - (b & mask);
        sum += difference * difference;
      }
      return sum;
    }

    private void add(int entry) {
      if (used == lists.length) {
        lists = Arrays.copyOf(lists, 2 * used);
      }
      lists[used++] = (char) entry;
    }
  }
}
