package io.portllm;

/**
 * How a change is ported that depends on the weights it is made to, such as DoRA's or OFT's. On the base that an adapter was trained on,
 * both give the same weights up to rounding.
 */
public enum BasePolicy {
  /**
   * The change that the adapter made to its own base, {@code W′ − W}, is added to the new base's weights, as PortLLM adds what any other
   * fine-tuning changed. Needs the adapter's base while the patch is used. The default.
   */
  FREEZE("freeze"),
  /**
   * The adapter's formula is applied to the new base's weights, as PEFT would if the adapter were loaded onto it. A patch file holds such
   * a change as what the adapter stores for it.
   */
  EVALUATE_ANEW("evaluate");

  private final String optionName;

  BasePolicy(String optionName) {
    this.optionName = optionName;
  }

  /** The policy's name as an option of the command: {@code freeze} or {@code evaluate}. */
  public String optionName() {
    return optionName;
  }
}
