package io.portllm.cli;

import io.portllm.Patch;
import io.portllm.ProgressListener;
import io.portllm.compress.Compressed;
import io.portllm.compress.Compression;
import io.portllm.compress.Compressor;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** The options that make a patch smaller at the price of an error. */
final class CompressOptions {
  @Spec(Spec.Target.MIXEE)
  private CommandSpec spec;

  @Option(names = "--density", paramLabel = "D", description = "Keep this share of each tensor's changes, those of largest magnitude.")
  private Double density;

  @Option(names = "--rescale", description = "With --density: multiply what is kept so that the sum of magnitudes stays.")
  private boolean rescale;

  @Option(
      names = "--bits",
      paramLabel = "N",
      description = "Write changes in 8, 4, 3, 2 or 1 bits, with scales; with --density, those that are kept.")
  private Integer bits;

  @Option(
      names = "--bands",
      split = ",",
      paramLabel = "N:BITS",
      description = "Keep the N strongest singular directions of each matrix in so many bits, then the next, such as 2:8,32:3,64:2.")
  private List<String> bands = new ArrayList<>();

  @Option(
      names = "--group",
      paramLabel = "G",
      description =
          "With --bits and --bands: how many neighbours share a scale, a multiple of 8, or row or matrix. Default: 128; matrix for 1 bit.")
  private String group;

  @Option(
      names = "--compress",
      paramLabel = "GLOB",
      arity = "1..*",
      description =
          "Compress the tensors whose name matches. Default: all of two dimensions; with 1 bit and --bands, no embeddings and heads.")
  private List<String> compress = new ArrayList<>();

  /** Whether a smaller patch is asked for. */
  boolean areGiven() {
    return density != null || bits != null || !bands.isEmpty();
  }

  /** The patch made smaller, if that was asked for. */
  Optional<Compressed> on(Patch patch, CommonOptions common) throws IOException {
    Optional<Compression> compression = compression();
    if (compression.isEmpty()) {
      return Optional.empty();
    }
    ExecutorService threads = Executors.newFixedThreadPool(common.threads());
    try (ProgressLine line = new ProgressLine("compressing")) {
      Compressor compressor = Compressor.of(compression.get()).withExecutor(threads).withProgress(cancellable(line));
      return Optional.of((compress.isEmpty() ? compressor : compressor.only(compress.toArray(String[]::new))).compress(patch));
    } finally {
      threads.shutdown();
    }
  }

  private Optional<Compression> compression() {
    if (rescale && density == null) {
      throw new ParameterException(spec.commandLine(), "--rescale needs --density");
    }
    if (!compress.isEmpty() && !areGiven()) {
      throw new ParameterException(spec.commandLine(), "--compress needs --density, --bits or --bands");
    }
    if (group != null && bits == null && bands.isEmpty()) {
      throw new ParameterException(spec.commandLine(), "--group needs --bits or --bands");
    }
    if (!bands.isEmpty() && (density != null || bits != null)) {
      throw new ParameterException(spec.commandLine(), "--bands cannot be combined with --density or --bits");
    }
    try {
      if (!bands.isEmpty()) {
        List<Compression.Band> wanted = bands.stream().map(CompressOptions::band).toList();
        return Optional.of(new Compression.Bands(wanted, groupOr(Compression.Bits.DEFAULT_GROUP)));
      }
      Optional<Compression.Bits> few = Optional.ofNullable(bits).map(this::fewBits);
      return density == null ? few.map(Compression.class::cast) : Optional.of(new Compression.Density(density, rescale, few));
    } catch (IllegalArgumentException e) {
      throw new ParameterException(spec.commandLine(), e.getMessage(), e);
    }
  }

  private Compression.Bits fewBits(int number) {
    return new Compression.Bits(number, groupOr(Compression.Bits.of(number).group()));
  }

  private static Compression.Band band(String text) {
    if (!text.matches("[1-9][0-9]{0,8}:[1-9]")) {
      throw new IllegalArgumentException("a band must be N:BITS, such as 32:3, but was '" + text + "'");
    }
    return new Compression.Band(Integer.parseInt(text.substring(0, text.length() - 2)), text.charAt(text.length() - 1) - '0');
  }

  private long groupOr(long otherwise) {
    if (group == null) {
      return otherwise;
    }
    return switch (group) {
      case "row" -> Compression.Bits.ROW;
      case "matrix" -> Compression.Bits.MATRIX;
      default -> {
        if (!group.matches("[1-9][0-9]{0,8}")) {
          throw new IllegalArgumentException("group must be a multiple of 8, row or matrix but was '" + group + "'");
        }
        yield Long.parseLong(group);
      }
    };
  }

  private static ProgressListener cancellable(ProgressListener listener) {
    return new ProgressListener() {
      @Override
      public void started(long totalBytes) {
        listener.started(totalBytes);
      }

      @Override
      public void progressed(long doneBytes, long totalBytes) {
        if (Interruption.isRequested()) {
          throw new CancellationException("cancelled");
        }
        listener.progressed(doneBytes, totalBytes);
      }
    };
  }
}
