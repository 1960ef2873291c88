package io.portllm.io.internal.adapter.kind;

import io.portllm.RowChange;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.internal.text.Names;
import io.portllm.io.internal.adapter.AdapterConfig;
import java.io.IOException;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/** RoAd (arXiv 2409.00119): pairs of outputs, bias included, rotated by {@code road_theta} and multiplied by {@code road_alpha}. */
final class RoadKind extends SizedByBase {
  private static final List<String> PARTS = List.of("road_theta", "road_alpha");
  private static final List<String> VARIANTS = List.of("road_1", "road_2", "road_4");

  @Override
  public List<String> parts() {
    return PARTS;
  }

  @Override
  Factory read(AdapterTensors tensors, AdapterTensors.Module module, Kept kept) throws IOException {
    AdapterConfig config = tensors.config();
    String variant = config.text("variant", "road_1");
    if (!VARIANTS.contains(variant)) {
      throw config.malformed("AD-CONFIG", "variant must be one of " + String.join(", ", VARIANTS) + " but is " + Names.quote(variant));
    }
    long group = config.integer("group_size", 64);
    if (group < 2 || group % 2 != 0 || group > Integer.MAX_VALUE) {
      throw config.malformed("AD-CONFIG", "group_size must be an even number >= 2 but is " + group);
    }
    Tensor angles = module.get("road_theta");
    Tensor scales = module.get("road_alpha", angles.info().shape().toArray());
    return new Rotated(PairRotation.Variant.valueOf(variant.toUpperCase(Locale.ROOT)), (int) group, angles, scales, kept);
  }

  private record Rotated(PairRotation.Variant variant, int group, Tensor angles, Tensor scales, Kept kept) implements Factory {
    @Override
    public String expected() {
      return angles.info().elements() + " angles of " + variant.name().toLowerCase(Locale.ROOT) + " in groups of " + group + " outputs";
    }

    @Override
    public boolean fits(Shape weight) {
      return weight.rank() == 2 && weight.rows() % group == 0 && variant.angles(weight.rows()) == angles.info().elements();
    }

    @Override
    public RowChange change(Shape weight) {
      return new PairRotation(weight, variant, group, angles, scales, kept);
    }

    @Override
    public Optional<RowChange> biasChange(Shape weight, Shape bias) {
      return bias.elements() != weight.rows() ? Optional.empty() : Optional.of(new PairRotation(bias, variant, group, angles, scales, kept));
    }
  }
}
