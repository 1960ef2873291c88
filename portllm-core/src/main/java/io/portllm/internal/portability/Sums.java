package io.portllm.internal.portability;

import io.portllm.Rounding;
import java.io.Serializable;

/**
 * What was summed up over one tensor or several. U is the update θ′ − θ, Δ the patch. Sums of tensors are added in one fixed order, so
 * totals do not depend on threads.
 */
final class Sums implements Serializable {
  private static final long serialVersionUID = 1L;

  long elements;
  long nonFinite;

  /** Whether there are new weights that the rest of the update's sums is of: then the old weights or a sketch of them are known. */
  boolean hasUpdate;
  boolean estimated;
  double oldSquares;
  double newSquares;
  double comparedSquares;
  double updateSquares;
  double oldNew;
  double spreadSquares;
  long rows;
  long displacedRows;
  boolean hasRows;

  boolean hasChange;
  double changeSquares;
  Rounding rounding = Rounding.NONE;

  /** Of tensors with both update and change. */
  boolean hasMeeting;
  double metUpdateSquares;
  double metChangeSquares;
  double changeUpdate;
  boolean hasSigns;
  long movedByBoth;
  long conflicts;
  double magnitude;
  double conflictMagnitude;

  boolean hasProducts;
  double inputUpdate;
  double inputOld;
  double inputUpdateByChance;
  double inputOldByChance;
  double outputUpdate;
  double outputOld;
  double outputUpdateByChance;
  double outputOldByChance;

  /** Adds the sums of another tensor. */
  void add(Sums other) {
    elements += other.elements;
    nonFinite += other.nonFinite;
    hasUpdate |= other.hasUpdate;
    estimated |= other.estimated;
    oldSquares += other.oldSquares;
    newSquares += other.newSquares;
    comparedSquares += other.comparedSquares;
    updateSquares += other.updateSquares;
    oldNew += other.oldNew;
    spreadSquares += other.spreadSquares;
    rows += other.rows;
    displacedRows += other.displacedRows;
    hasRows |= other.hasRows;
    hasChange |= other.hasChange;
    changeSquares += other.changeSquares;
    rounding = rounding.plus(other.rounding);
    hasMeeting |= other.hasMeeting;
    metUpdateSquares += other.metUpdateSquares;
    metChangeSquares += other.metChangeSquares;
    changeUpdate += other.changeUpdate;
    hasSigns |= other.hasSigns;
    movedByBoth += other.movedByBoth;
    conflicts += other.conflicts;
    magnitude += other.magnitude;
    conflictMagnitude += other.conflictMagnitude;
    hasProducts |= other.hasProducts;
    inputUpdate += other.inputUpdate;
    inputOld += other.inputOld;
    inputUpdateByChance += other.inputUpdateByChance;
    inputOldByChance += other.inputOldByChance;
    outputUpdate += other.outputUpdate;
    outputOld += other.outputOld;
    outputUpdateByChance += other.outputUpdateByChance;
    outputOldByChance += other.outputOldByChance;
  }
}
