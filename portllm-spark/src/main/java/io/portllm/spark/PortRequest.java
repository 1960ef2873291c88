package io.portllm.spark;

import io.portllm.Allow;
import io.portllm.BasePolicy;
import io.portllm.MergeOptions;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;

/** One patch to put onto one new base. Immutable. */
public final class PortRequest implements Serializable {
  private static final long serialVersionUID = 1L;

  private final PatchSource patch;
  private final String onto;
  private final String output;
  private final ArrayList<Allow> allowed;
  private final BasePolicy basePolicy;
  private final boolean overwrite;

  private PortRequest(PatchSource patch, String onto, String output, List<Allow> allowed, BasePolicy basePolicy, boolean overwrite) {
    this.patch = Objects.requireNonNull(patch, "patch");
    this.onto = Objects.requireNonNull(onto, "onto");
    this.output = Objects.requireNonNull(output, "output");
    this.allowed = new ArrayList<>(allowed);
    this.basePolicy = Objects.requireNonNull(basePolicy, "policy");
    this.overwrite = overwrite;
  }

  /**
   * A port, nothing allowed that does not fit, and an existing output refused.
   *
   * @param onto where the new base is: a safetensors model
   * @param output the folder to make, or, if the name ends in {@code .safetensors}, the single file
   */
  public static PortRequest of(PatchSource patch, String onto, String output) {
    return new PortRequest(patch, onto, output, List.of(), BasePolicy.FREEZE, false);
  }

  /** This request with these mismatches allowed. */
  public PortRequest allowing(Allow... mismatches) {
    return new PortRequest(patch, onto, output, List.of(mismatches), basePolicy, overwrite);
  }

  /** This request with another policy for changes that depend on the weights they are made to. */
  public PortRequest withBasePolicy(BasePolicy policy) {
    return new PortRequest(patch, onto, output, allowed, policy, overwrite);
  }

  /** This request, replacing an existing output once the new one is complete. Object stores cannot: there it is refused. */
  public PortRequest overwriting() {
    return new PortRequest(patch, onto, output, allowed, basePolicy, true);
  }

  /** Where the patch comes from. */
  public PatchSource patch() {
    return patch;
  }

  /** Where the new base is. */
  public String onto() {
    return onto;
  }

  /** What is made. */
  public String output() {
    return output;
  }

  /** Whether an existing output is replaced. */
  public boolean overwrites() {
    return overwrite;
  }

  /** How the patch is extracted and applied. */
  public MergeOptions mergeOptions() {
    return MergeOptions.defaults().allow(allowed.toArray(Allow[]::new)).withBasePolicy(basePolicy);
  }

  @Override
  public String toString() {
    return "PortRequest[" + patch + " onto " + onto + " to " + output + "]";
  }
}
