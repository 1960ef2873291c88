package io.portllm.internal.kernel;

import io.portllm.Merger;

class ScalarMergerTest extends MergerContract {
  @Override
  Merger merger() {
    return Merger.scalar();
  }
}
