package io.portllm.internal.kernel;

import io.portllm.Merger;

class StagedMergerTest extends MergerContract {
  @Override
  Merger merger() {
    return StagedMerger.INSTANCE;
  }
}
