package io.portllm.portability;

import io.portllm.Rounding;
import io.portllm.portability.TensorReport.Change;
import io.portllm.portability.TensorReport.Meeting;
import io.portllm.portability.TensorReport.Update;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.Random;

/** Reports with seeded figures, of models of any size. */
final class Reports {
  private static final List<String> MODULES = List.of(
      "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
      "input_layernorm", "post_attention_layernorm");

  private Reports() {}

  /** A model with this many layers, or experts in each. */
  static List<TensorReport> tensors(int layers, int experts) {
    Random random = new Random(1);
    List<TensorReport> tensors = new ArrayList<>();
    tensors.add(tensor("model.embed_tokens.weight", OptionalInt.empty(), "model.embed_tokens.weight", false, random));
    for (int layer = 0; layer < layers; layer++) {
      List<String> modules = new ArrayList<>(MODULES);
      for (int expert = 0; expert < experts; expert++) {
        modules.add("mlp.experts." + expert + ".up_proj");
        modules.add("mlp.experts." + expert + ".down_proj");
      }
      for (String module : modules) {
        String name = "model.layers." + layer + "." + module + ".weight";
        tensors.add(tensor(name, OptionalInt.of(layer), module, !module.contains("norm"), random));
      }
    }
    tensors.add(tensor("model.norm.weight", OptionalInt.empty(), "model.norm.weight", false, random));
    return tensors;
  }

  static TensorReport tensor(String name, OptionalInt layer, String module, boolean changed, Random random) {
    double old = 10 + random.nextDouble();
    double drift = 0.01 * Math.exp(random.nextGaussian() + layer.orElse(0) / 40.0);
    double relative = 0.03 * Math.exp(random.nextGaussian());
    Update update = new Update(old, old * 1.01, old * drift, drift, 1 - drift * drift / 2, drift / 3, OptionalDouble.of(0), false);
    Change change = new Change(old * 1.01 * relative, relative, new Rounding(4096, random.nextInt(400), 0, 0));
    Meeting meeting = new Meeting(
        change.norm() / update.norm(), random.nextGaussian() * 0.1, part(random), part(random), part(random), part(random),
        OptionalDouble.of(Math.exp(random.nextGaussian())), OptionalDouble.of(Math.exp(random.nextGaussian())), part(random), part(random));
    return new TensorReport(
        name, layer, module, 4096, Optional.of(update), changed ? Optional.of(change) : Optional.empty(),
        changed ? Optional.of(meeting) : Optional.empty(), 0);
  }

  private static OptionalDouble part(Random random) {
    return OptionalDouble.of(0.4 + 0.2 * random.nextDouble());
  }

  static PortabilityReport report(String patch, String newBase, List<Finding> findings, List<TensorReport> tensors) {
    Random random = new Random(2);
    return new PortabilityReport(
        patch, Optional.of("old"), newBase, PortabilityReport.Evidence.WEIGHTS, Verdict.PORT, Confidence.MEDIUM, OptionalDouble.of(0.9312),
        List.of("the update moved little", "the patch is larger"), "Apply the patch.",
        new Lineage(
            Lineage.Kind.RELATED, tensors.size(), 0, OptionalDouble.of(0.99876), OptionalDouble.of(0.98123),
            Optional.of(tensors.get(0).name()), 0),
        findings, tensor("changed by the patch", OptionalInt.empty(), "changed by the patch", true, random),
        tensor("all tensors", OptionalInt.empty(), "all tensors", true, random), tensors, Optional.empty());
  }

  /** A trial with everything that a trial can have. */
  static TrialReport trial() {
    return new TrialReport(
        "tuned", "new", Verdict.PORT, false, new TrialArm("no patch", 250, 0.412, new Interval(0.353, 0.474)),
        new TrialArm("ported", 250, 0.868, new Interval(0.82, 0.905)),
        Optional.of(new TrialArm("old base with the patch", 250, 0.904, new Interval(0.861, 0.935))),
        Optional.of(new TrialArm("re-tuned", 250, 0.896, new Interval(0.852, 0.928))), 0.456, new Interval(0.388, 0.52),
        OptionalDouble.of(0.927), Optional.of(new Interval(0.841, 1.003)), new TrialFlips(250, 7, 121),
        Optional.of(new TrialArm("to retain, no patch", 100, 0.95, new Interval(0.888, 0.978))),
        Optional.of(new TrialArm("to retain, ported", 100, 0.93, new Interval(0.863, 0.966))), Optional.of(new TrialFlips(100, 3, 1)),
        List.of(new TrialPoint(0, 0.412), new TrialPoint(0.5, 0.7), new TrialPoint(0.75, 0.81), new TrialPoint(1, 0.868),
            new TrialPoint(1.25, 0.872), new TrialPoint(1.5, 0.8)),
        List.of(new TrialPoint(0, 0.904), new TrialPoint(0.25, 0.9), new TrialPoint(0.5, 0.892), new TrialPoint(0.75, 0.88),
            new TrialPoint(1, 0.868)));
  }
}
