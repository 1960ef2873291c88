package io.portllm.internal.quant;

import java.util.Arrays;

/**
 * {@link ScaleMinSearch} for one group, element by element, as ggml's {@code make_qkx2_quants} goes: for few groups, and for those whose
 * range is zero, nearly zero or infinite, where rounding must take infinities and NaN as ggml does.
 */
final class PlainScaleMinSearch {
  private final ScaleMinSearch.Plan plan;
  private final float[] values;
  private final float[] weights;
  private final int[] codes;
  private final int[] tried;
  private float scale;
  private float minimum;

  PlainScaleMinSearch(ScaleMinSearch.Plan plan) {
    this.plan = plan;
    values = new float[plan.size()];
    weights = new float[plan.size()];
    codes = new int[plan.size()];
    tried = new int[plan.size()];
  }

  float scale() {
    return scale;
  }

  float minimum() {
    return minimum;
  }

  void codes(int[] target, int at) {
    System.arraycopy(codes, 0, target, at, codes.length);
  }

  void search(float[] source, int from) {
    System.arraycopy(source, from, values, 0, values.length);
    weigh();
    float least = values[0];
    float most = values[0];
    float weightSum = weights[0];
    float valueSum = weightSum * values[0];
    for (int i = 1; i < values.length; i++) {
      least = Math.min(least, values[i]);
      most = Math.max(most, values[i]);
      weightSum += weights[i];
      valueSum += weights[i] * values[i];
    }
    least = Math.min(least, 0);
    minimum = least;
    if (most == least) {
      Arrays.fill(codes, 0);
      scale = 0;
      return;
    }
    float inverse = plan.top() / (most - least);
    scale = 1 / inverse;
    round(inverse, least, codes);
    float leastError = error(codes, scale, least);
    for (int i = 0; i <= plan.steps(); i++) {
      round((plan.firstStep() + plan.step() * i + plan.top()) / (most - minimum), minimum, tried);
      leastError = fit(weightSum, valueSum, leastError);
    }
  }

  private void weigh() {
    float base = 0;
    if (!plan.absoluteErrors()) {
      for (float x : values) {
        base += x * x;
      }
      base = (float) Math.sqrt(base / values.length);
    }
    for (int i = 0; i < values.length; i++) {
      weights[i] = base + Math.abs(values[i]);
    }
  }

  private void round(float inverse, float least, int[] target) {
    for (int i = 0; i < values.length; i++) {
      target[i] = NearestInt.of(inverse * (values[i] - least), 0, plan.top());
    }
  }

  private float error(int[] l, float withScale, float withMinimum) {
    float sum = 0;
    for (int i = 0; i < values.length; i++) {
      float difference = withScale * l[i] + withMinimum - values[i];
      sum += weights[i] * (plan.absoluteErrors() ? Math.abs(difference) : difference * difference);
    }
    return sum;
  }

  /** Takes the codes tried if their error is less than the least one so far; returns the least error. */
  private float fit(float weightSum, float valueSum, float leastError) {
    float sumL = 0;
    float sumLL = 0;
    float sumXL = 0;
    for (int i = 0; i < values.length; i++) {
      float wl = weights[i] * tried[i];
      sumL += wl;
      sumLL += wl * tried[i];
      sumXL += wl * values[i];
    }
    float determinant = weightSum * sumLL - sumL * sumL;
    if (!(determinant > 0)) {
      return leastError;
    }
    float triedScale = (weightSum * sumXL - valueSum * sumL) / determinant;
    float triedMinimum = (sumLL * valueSum - sumL * sumXL) / determinant;
    if (triedMinimum > 0) {
      triedMinimum = 0;
      triedScale = sumXL / sumLL;
    }
    float error = error(tried, triedScale, triedMinimum);
    if (!(error < leastError)) {
      return leastError;
    }
    System.arraycopy(tried, 0, codes, 0, codes.length);
    scale = triedScale;
    minimum = triedMinimum;
    return error;
  }
}
