package io.portllm.io.internal.patchfile;

import io.portllm.internal.patch.TwoTensors;
import io.portllm.internal.run.Progress;
import java.io.IOException;
import java.util.Optional;
import java.util.concurrent.ConcurrentLinkedQueue;

/**
 * What is stored of the change from one tensor to another.
 *
 * @param change the difference of the two, if they are of one type and shape
 * @param base the old tensor whole, if it is there and there is no {@code change}
 * @param result the new tensor whole, if it is there and there is no {@code change}
 */
record ExactPayloads(Optional<ExactPayload> change, Optional<ExactPayload> base, Optional<ExactPayload> result) {
  static ExactPayloads survey(TwoTensors two, ConcurrentLinkedQueue<ExactPayload.Coder> coders, Progress progress) throws IOException {
    if (two.before().equals(two.after())) {
      ExactPayload change = ExactPayload.survey(two.old(), two.made().orElseThrow(), coders, progress);
      return new ExactPayloads(Optional.of(change), Optional.empty(), Optional.empty());
    }
    Optional<ExactPayload> base = Optional.empty();
    if (two.old().isPresent()) {
      base = Optional.of(ExactPayload.survey(Optional.empty(), two.old().get(), coders, progress));
    }
    Optional<ExactPayload> result = Optional.empty();
    if (two.made().isPresent()) {
      result = Optional.of(ExactPayload.survey(Optional.empty(), two.made().get(), coders, progress));
    }
    return new ExactPayloads(Optional.empty(), base, result);
  }

  /** Whether nothing changes. */
  boolean isEmpty() {
    return change.isPresent() && change.get().isEmpty();
  }

  Optional<String> digestBefore() {
    return change.isPresent() ? change.get().digestOfGiven() : base.map(ExactPayload::digestOfMade);
  }

  Optional<String> digestAfter() {
    return change.or(() -> result).map(ExactPayload::digestOfMade);
  }
}
