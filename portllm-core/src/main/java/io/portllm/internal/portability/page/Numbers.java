package io.portllm.internal.portability.page;

import java.math.BigDecimal;
import java.math.MathContext;
import java.math.RoundingMode;
import java.util.Locale;
import java.util.OptionalDouble;

/** Figures as text: rounded once from the report's value, whatever the locale. */
final class Numbers {
  /** What stands for a figure that is not known. */
  static final String UNKNOWN = "–";

  private static final MathContext DIGITS = new MathContext(4, RoundingMode.HALF_EVEN);
  private static final MathContext PERCENT_DIGITS = new MathContext(3, RoundingMode.HALF_EVEN);
  private static final double TINY = 1e-4;

  private Numbers() {}

  /** Four significant digits. */
  static String of(double value) {
    return of(value, DIGITS);
  }

  /** Three significant digits. */
  static String three(double value) {
    return of(value, PERCENT_DIGITS);
  }

  static String of(OptionalDouble value) {
    return value.isPresent() ? of(value.getAsDouble()) : UNKNOWN;
  }

  /** Three significant digits of the percentage. */
  static String percent(double share) {
    return inPercent(share) + "\u00a0%";
  }

  static String percent(OptionalDouble share) {
    return share.isPresent() ? percent(share.getAsDouble()) : UNKNOWN;
  }

  /** The same without the sign, for columns that have it in their heading. */
  static String inPercent(double share) {
    return Double.isFinite(share) ? plain(BigDecimal.valueOf(share).movePointRight(2), PERCENT_DIGITS) : of(share);
  }

  /** The figure of a tick or limit, without zeros at its end. */
  static String tick(double value) {
    return !Double.isFinite(value) ? of(value) : plain(BigDecimal.valueOf(value).round(DIGITS).stripTrailingZeros(), DIGITS);
  }

  /** The same as a percentage. */
  static String percentTick(double share) {
    return !Double.isFinite(share)
        ? percent(share)
        : plain(BigDecimal.valueOf(share).movePointRight(2).round(DIGITS).stripTrailingZeros(), DIGITS) + "\u00a0%";
  }

  /** Digits after the point as a cosine or score needs them. */
  static String fixed(double value, int digits) {
    if (!Double.isFinite(value)) {
      return of(value);
    }
    BigDecimal rounded = new BigDecimal(value).setScale(digits, RoundingMode.HALF_EVEN);
    return rounded.toPlainString().replace('-', '−');
  }

  static String fixed(OptionalDouble value, int digits) {
    return value.isPresent() ? fixed(value.getAsDouble(), digits) : UNKNOWN;
  }

  /** A count with thin gaps between thousands. */
  static String count(long value) {
    return String.format(Locale.ROOT, "%,d", value).replace(',', '\u202f');
  }

  /** A coordinate of a picture: to a tenth. */
  static String at(double value) {
    long tenths = Math.round(value * 10);
    String sign = tenths < 0 ? "-" : "";
    long whole = Math.abs(tenths) / 10;
    long rest = Math.abs(tenths) % 10;
    return sign + whole + (rest == 0 ? "" : "." + rest);
  }

  private static String of(double value, MathContext digits) {
    if (Double.isNaN(value)) {
      return "NaN";
    }
    return Double.isInfinite(value) ? (value < 0 ? "−∞" : "∞") : plain(BigDecimal.valueOf(value), digits);
  }

  private static String plain(BigDecimal value, MathContext digits) {
    if (value.signum() == 0) {
      return "0";
    }
    BigDecimal rounded = value.round(digits);
    String text = rounded.abs().doubleValue() < TINY
        ? String.format(Locale.ROOT, "%." + (digits.getPrecision() - 1) + "e", rounded)
        : rounded.toPlainString();
    return text.replace('-', '−').replace("e−", "e-");
  }
}
