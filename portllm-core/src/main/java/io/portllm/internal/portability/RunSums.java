package io.portllm.internal.portability;

/** Sums over runs of weights and changes that lie at the same place: rows of a matrix, or parts of a vector. For one thread. */
final class RunSums {
  /** Rows with a lesser cosine count as displaced. */
  private static final double DISPLACED = 0.3;

  private final double[] fresh = new double[Lanes.COUNT];
  private final double[] old = new double[Lanes.COUNT];
  private final double[] change = new double[Lanes.COUNT];
  private final double[] update = new double[Lanes.COUNT];
  private final double[] sign = new double[Lanes.COUNT];
  private final double[] turned = new double[Lanes.COUNT];
  private final Lanes newSquares = new Lanes();
  private final Lanes oldSquares = new Lanes();
  private final Lanes oldNew = new Lanes();
  private final Lanes updateSquares = new Lanes();
  private final Lanes changeSquares = new Lanes();
  private final Lanes changeUpdate = new Lanes();
  private final Lanes magnitudes = new Lanes();
  private final Lanes turns = new Lanes();
  private final Lanes both = new Lanes();
  private final Lanes agreements = new Lanes();
  private final Sums sums;

  /** Adds to {@code sums}. */
  RunSums(Sums sums) {
    this.sums = sums;
  }

  /** Adds values {@code from} to {@code to} of a run of new weights that nothing is compared with. */
  void addNew(double[] values, int from, int to) {
    sums.newSquares += squares(values, from, to);
  }

  /** Adds values {@code from} to {@code to} of a run of changes to such weights. */
  void addChange(double[] values, int from, int to) {
    sums.changeSquares += squares(values, from, to);
  }

  private double squares(double[] values, int from, int to) {
    for (int at = from; at < to; at += Lanes.COUNT) {
      int length = Math.min(Lanes.COUNT, to - at);
      System.arraycopy(values, at, fresh, 0, length);
      newSquares.add(fresh, fresh, length);
    }
    return newSquares.take();
  }

  /**
   * Adds a run of new weights and the old ones.
   *
   * @param changes what is done to them, or null
   * @return whether the run points elsewhere than it did
   */
  boolean addCompared(double[] newValues, double[] oldValues, double[] changes, int count) {
    for (int at = 0; at < count; at += Lanes.COUNT) {
      int length = Math.min(Lanes.COUNT, count - at);
      System.arraycopy(newValues, at, fresh, 0, length);
      System.arraycopy(oldValues, at, old, 0, length);
      newSquares.add(fresh, fresh, length);
      oldSquares.add(old, old, length);
      oldNew.add(old, fresh, length);
      subtract(fresh, old, update, length);
      updateSquares.add(update, update, length);
      if (changes != null) {
        System.arraycopy(changes, at, change, 0, length);
        changeSquares.add(change, change, length);
        changeUpdate.add(change, update, length);
        addSigns(change, update, length);
      }
    }
    double newSquare = newSquares.take();
    double oldSquare = oldSquares.take();
    double product = oldNew.take();
    sums.newSquares += newSquare;
    sums.comparedSquares += newSquare;
    sums.oldSquares += oldSquare;
    sums.oldNew += product;
    return product < DISPLACED * Math.sqrt(oldSquare) * Math.sqrt(newSquare);
  }

  private static void subtract(double[] x, double[] y, double[] difference, int count) {
    for (int i = 0; i < count; i++) {
      difference[i] = x[i] - y[i];
    }
  }

  /**
   * What turns with the update's sign is |Δ| where both go one way, −|Δ| where they go opposite ways and 0 where either is 0, so that
   * conflicts are half of what its sum lacks of the sum of its magnitudes. The same with the sign of Δ for Δ gives counts.
   */
  private void addSigns(double[] changes, double[] updates, int count) {
    signs(updates, sign, count);
    multiply(changes, sign, turned, count);
    turns.add(turned, count);
    magnitudes.addMagnitudes(turned, count);
    signs(turned, sign, count);
    agreements.add(sign, count);
    both.addMagnitudes(sign, count);
  }

  /** −1, 0 or 1: the least difference of two numbers, 2⁻¹⁰⁷⁴, becomes more than 1. */
  private static void signs(double[] values, double[] signs, int count) {
    for (int i = 0; i < count; i++) {
      signs[i] = Math.max(-1, Math.min(1, values[i] * 0x1p600 * 0x1p600));
    }
  }

  private static void multiply(double[] x, double[] y, double[] products, int count) {
    for (int i = 0; i < count; i++) {
      products[i] = x[i] * y[i];
    }
  }

  /** Adds what is summed over all runs. */
  void finish() {
    double squares = changeSquares.take();
    sums.updateSquares += updateSquares.take();
    sums.changeUpdate += changeUpdate.take();
    sums.changeSquares += squares;
    sums.metChangeSquares += squares;
    double moved = both.take();
    double size = magnitudes.take();
    sums.movedByBoth += (long) moved;
    sums.conflicts += (long) ((moved - agreements.take()) / 2);
    sums.magnitude += size;
    sums.conflictMagnitude += (size - turns.take()) / 2;
  }
}
