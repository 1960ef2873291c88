package io.portllm.spark;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;

/**
 * Where a patch comes from, by location: each task opens it anew. Immutable.
 *
 * <p>Locations are as in {@link HadoopPaths#of}, and every worker must see the same files there.
 */
public final class PatchSource implements Serializable {
  private static final long serialVersionUID = 1L;

  /** What a patch is made of. */
  public enum Kind {
    /** All weights of a fine-tuned model. */
    FINE_TUNED,
    /** A PEFT adapter. */
    ADAPTER,
    /** A patch file. */
    PATCH_FILE
  }

  private final Kind kind;
  private final String location;
  private final String base;
  private final double scale;
  private final ArrayList<String> only;
  private final ArrayList<String> except;

  private PatchSource(Kind kind, String location, String base, double scale, List<String> only, List<String> except) {
    this.kind = kind;
    this.location = Objects.requireNonNull(location, "location");
    this.base = base;
    this.scale = scale;
    this.only = new ArrayList<>(only);
    this.except = new ArrayList<>(except);
  }

  /** What the model at {@code fineTuned} changed in the one at {@code base}. */
  public static PatchSource fineTuned(String fineTuned, String base) {
    return new PatchSource(Kind.FINE_TUNED, fineTuned, Objects.requireNonNull(base, "base"), 1, List.of(), List.of());
  }

  /** The changes of a PEFT adapter, where its base is not at hand. */
  public static PatchSource adapter(String folder) {
    return new PatchSource(Kind.ADAPTER, folder, null, 1, List.of(), List.of());
  }

  /** The changes of a PEFT adapter against its base. */
  public static PatchSource adapter(String folder, String base) {
    return new PatchSource(Kind.ADAPTER, folder, Objects.requireNonNull(base, "base"), 1, List.of(), List.of());
  }

  /** A patch file. */
  public static PatchSource patchFile(String file) {
    return new PatchSource(Kind.PATCH_FILE, file, null, 1, List.of(), List.of());
  }

  /** This patch with every change multiplied by {@code factor}, any finite number. */
  public PatchSource scaledBy(double factor) {
    if (!Double.isFinite(factor)) {
      throw new IllegalArgumentException("the scale must be finite but was " + factor);
    }
    return new PatchSource(kind, location, base, scale * factor, only, except);
  }

  /** The part of this patch whose tensors match one of {@code globs}, as {@link io.portllm.Patch#only} takes them. */
  public PatchSource only(String... globs) {
    return new PatchSource(kind, location, base, scale, List.of(globs), except);
  }

  /** The part of this patch whose tensors match none of {@code globs}, as {@link io.portllm.Patch#except} takes them. */
  public PatchSource except(String... globs) {
    return new PatchSource(kind, location, base, scale, only, List.of(globs));
  }

  /** What lies at {@link #location}. */
  public Kind kind() {
    return kind;
  }

  /** Where the fine-tuned model, the adapter folder or the patch file is. */
  public String location() {
    return location;
  }

  /** Where the model is that was tuned, if it is at hand. */
  public Optional<String> base() {
    return Optional.ofNullable(base);
  }

  /** What the changes are multiplied by. */
  public double scale() {
    return scale;
  }

  /** Patterns of the tensors whose changes are used; all if empty. */
  public List<String> only() {
    return List.copyOf(only);
  }

  /** Patterns of the tensors whose changes are not used. */
  public List<String> except() {
    return List.copyOf(except);
  }

  @Override
  public String toString() {
    return "PatchSource[" + kind + " " + location + (base == null ? "" : " on " + base) + "]";
  }
}
