package io.portllm.internal.portability;

import io.portllm.portability.TensorReport;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Turns sums into the figures of a report. */
final class Facts {
  private static final Pattern LAYER = Pattern.compile("(?:^|\\.)(\\d{1,9})\\.(.+)$");

  private Facts() {}

  /** The report of one tensor. */
  static TensorReport ofTensor(String name, Sums sums) {
    Matcher matcher = LAYER.matcher(name);
    boolean layered = matcher.find();
    String module = layered ? matcher.group(2) : name;
    String suffix = ".weight";
    return of(
        name,
        layered ? OptionalInt.of(Integer.parseInt(matcher.group(1))) : OptionalInt.empty(),
        module.endsWith(suffix) ? module.substring(0, module.length() - suffix.length()) : module,
        sums);
  }

  /** The report of several tensors. */
  static TensorReport ofGroup(String name, Sums sums) {
    return of(name, OptionalInt.empty(), name, sums);
  }

  private static TensorReport of(String name, OptionalInt layer, String module, Sums sums) {
    return new TensorReport(
        name,
        layer,
        module,
        sums.elements,
        sums.hasUpdate ? Optional.of(update(sums)) : Optional.empty(),
        sums.hasChange ? Optional.of(change(sums)) : Optional.empty(),
        sums.hasMeeting ? Optional.of(meeting(sums)) : Optional.empty(),
        sums.nonFinite);
  }

  private static TensorReport.Change change(Sums sums) {
    return new TensorReport.Change(Math.sqrt(sums.changeSquares), rootRatio(sums.changeSquares, sums.newSquares), sums.rounding);
  }

  private static TensorReport.Update update(Sums sums) {
    return new TensorReport.Update(
        Math.sqrt(sums.oldSquares),
        Math.sqrt(sums.comparedSquares),
        Math.sqrt(sums.updateSquares),
        rootRatio(sums.updateSquares, sums.oldSquares),
        cosine(sums),
        rootRatio(sums.spreadSquares, sums.oldSquares),
        sums.hasRows ? OptionalDouble.of(sums.rows == 0 ? 0 : (double) sums.displacedRows / sums.rows) : OptionalDouble.empty(),
        sums.estimated);
  }

  /** The cosine of the angle between old and new weights; 1 if both are zero, 0 if one is. */
  static double cosine(Sums sums) {
    if (sums.oldSquares == 0 && sums.comparedSquares == 0) {
      return 1;
    }
    double norms = Math.sqrt(sums.oldSquares) * Math.sqrt(sums.comparedSquares);
    return norms == 0 ? 0 : Math.max(-1, Math.min(1, sums.oldNew / norms));
  }

  private static TensorReport.Meeting meeting(Sums sums) {
    double norms = Math.sqrt(sums.metChangeSquares) * Math.sqrt(sums.metUpdateSquares);
    return new TensorReport.Meeting(
        sums.metUpdateSquares == 0 ? Double.POSITIVE_INFINITY : Math.sqrt(sums.metChangeSquares / sums.metUpdateSquares),
        norms == 0 ? 0 : sums.changeUpdate / norms,
        when(sums.hasSigns, sums.movedByBoth == 0 ? 0 : (double) sums.conflicts / sums.movedByBoth),
        when(sums.hasSigns, sums.magnitude == 0 ? 0 : sums.conflictMagnitude / sums.magnitude),
        when(sums.hasProducts, rootRatio(sums.inputUpdate, sums.inputOld)),
        when(sums.hasProducts, rootRatio(sums.outputUpdate, sums.outputOld)),
        when(sums.hasProducts, rootRatio(sums.inputUpdate, sums.inputUpdateByChance)),
        when(sums.hasProducts, rootRatio(sums.outputUpdate, sums.outputUpdateByChance)),
        when(sums.hasProducts, rootRatio(sums.inputOld, sums.inputOldByChance)),
        when(sums.hasProducts, rootRatio(sums.outputOld, sums.outputOldByChance)));
  }

  private static OptionalDouble when(boolean known, double value) {
    return known ? OptionalDouble.of(value) : OptionalDouble.empty();
  }

  /** √(part / whole); 0 of nothing is 0, something of nothing infinite. */
  private static double rootRatio(double part, double whole) {
    return part == 0 ? 0 : Math.sqrt(part / whole);
  }
}
