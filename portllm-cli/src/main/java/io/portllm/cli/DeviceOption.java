package io.portllm.cli;

import io.portllm.MergeOptions;
import io.portllm.Merger;
import io.portllm.cuda.Cuda;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Option;
import picocli.CommandLine.TypeConversionException;

/** Where weights are merged. */
final class DeviceOption {
  private enum Device { CPU, CUDA }

  @Option(
      names = "--device",
      paramLabel = "DEVICE",
      converter = DeviceConverter.class,
      description = "Where weights are merged: cpu, or cuda, the first GPU of the CUDA driver. The bytes written are the same. Default: cpu.")
  private Device device = Device.CPU;

  /**
   * The options with the merger that is asked for.
   *
   * @throws IllegalStateException if a GPU is asked for and none can be used
   */
  MergeOptions on(MergeOptions options) {
    if (device == Device.CPU) {
      return options;
    }
    Cuda.problem().ifPresent(problem -> {
      throw new IllegalStateException("--device cuda: no GPU can be used: " + problem);
    });
    return options.withMerger(Merger.cuda());
  }

  static final class DeviceConverter implements ITypeConverter<Device> {
    @Override
    public Device convert(String name) {
      return switch (name) {
        case "cpu" -> Device.CPU;
        case "cuda" -> Device.CUDA;
        default -> throw new TypeConversionException("must be cpu or cuda but was '" + name + "'");
      };
    }
  }
}
