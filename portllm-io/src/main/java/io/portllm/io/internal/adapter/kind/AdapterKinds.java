package io.portllm.io.internal.adapter.kind;

import com.google.common.collect.ImmutableMap;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/** The kinds of adapters, by PEFT's name for them. */
public final class AdapterKinds {
  /** The kinds whose weights are read here. LoRA is read by {@code AdapterContents}. */
  private static final Map<String, AdapterKind> KINDS =
      ImmutableMap.<String, AdapterKind>builder()
          .put("ADALORA", new AdaLoraKind())
          .put("BOFT", new BoftKind())
          .put("C3A", new C3aKind())
          .put("DELORA", new DeloraKind())
          .put("FOURIERFT", new FourierFtKind())
          .put("GRALORA", new GraLoraKind())
          .put("HRA", new HraKind())
          .put("IA3", new Ia3Kind())
          .put("LN_TUNING", new LnTuningKind())
          .put("LOHA", new LohaKind())
          .put("LOKR", new LokrKind())
          .put("MISS", new MissKind())
          .put("OFT", new OftKind())
          .put("OSF", new OsfKind())
          .put("RANDLORA", new RandLoraKind())
          .put("ROAD", new RoadKind())
          .put("SHIRA", new ShiraKind())
          .put("VERA", new VeraKind())
          .put("WAVEFT", new WaveFtKind())
          .buildOrThrow();

  private static final String INPUT = "trains inputs that are put before the text, and changes no weight";

  /** Kinds that no change of weights describes, and why. */
  private static final Map<String, String> WITHOUT_WEIGHTS =
      ImmutableMap.<String, String>builder()
          .put("ADAPTION_PROMPT", "adds gated attention to trained inputs, and changes no weight")
          .put("CARTRIDGE", "trains keys and values that are put before the text's, and changes no weight")
          .put("CPT", INPUT)
          .put("MULTITASK_PROMPT_TUNING", INPUT)
          .put("POLY", "mixes several LoRA adapters by the task of each input, and no one change of weights does that")
          .put("PREFIX_TUNING", "trains keys and values that are put before the text's, and changes no weight")
          .put("PROMPT_TUNING", INPUT)
          .put("P_TUNING", INPUT)
          .put("XLORA", "mixes several LoRA adapters anew for each token, and no one change of weights does that")
          .buildOrThrow();

  private AdapterKinds() {}

  /** The kind of this name, if it is read. */
  public static Optional<AdapterKind> named(String type) {
    return Optional.ofNullable(KINDS.get(type));
  }

  /** The names of the kinds that are read. */
  public static Set<String> names() {
    return KINDS.keySet();
  }

  /** Why no change of weights describes the kind of this name, as the end of a sentence, if that is so. */
  public static Optional<String> reasonAgainst(String type) {
    return Optional.ofNullable(WITHOUT_WEIGHTS.get(type));
  }
}
