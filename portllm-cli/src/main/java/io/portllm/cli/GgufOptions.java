package io.portllm.cli;

import io.portllm.DType;
import io.portllm.MergeOptions;
import io.portllm.ModelVersion;
import io.portllm.io.Checkpoints;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Locale;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Option;
import picocli.CommandLine.TypeConversionException;

/** The options of porting onto GGUF models. */
final class GgufOptions {
  @Option(
      names = "--raise",
      paramLabel = "TYPE",
      converter = TypeConverter.class,
      description = "Write changed tensors of a GGUF model in this type, such as q4_k or bf16, where their own cannot be written without an "
          + "importance matrix. Default: such changes are refused.")
  private DType raise;

  @Option(
      names = "--proof",
      paramLabel = "HF",
      description = "A Hugging Face copy of the new base, a GGUF model: compare the weights of both before anything is written, and refuse if they "
          + "differ by more than the types of the GGUF model explain.")
  private Path proof;

  MergeOptions on(MergeOptions options) {
    return raise == null ? options : options.raisingTo(raise);
  }

  /** Compares {@code newBase} with its copy, if one is named. */
  void prove(ModelVersion newBase, CommonOptions common) throws IOException {
    if (proof != null) {
      try (ModelVersion original = Checkpoints.open(proof); ProgressLine progress = new ProgressLine("proving")) {
        Checkpoints.proveConversion(newBase, original, common.writeOptions(progress));
      }
    }
  }

  /** Reads the names of types, in capitals or not. */
  static final class TypeConverter implements ITypeConverter<DType> {
    @Override
    public DType convert(String name) {
      DType type =
          DType.named(name.toUpperCase(Locale.ROOT))
              .orElseThrow(() -> new TypeConversionException("must be a type such as q4_k, q8_0 or bf16 but was '" + name + "'"));
      try {
        MergeOptions.defaults().raisingTo(type);
      } catch (IllegalArgumentException e) {
        throw new TypeConversionException(e.getMessage());
      }
      return type;
    }
  }
}
