package io.portllm.io.internal.gguf;

import io.portllm.internal.text.Names;
import io.portllm.io.MalformedModelException;
import io.portllm.io.internal.files.Paths;
import io.portllm.io.internal.files.SourceFile;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/** Checks that the tensors of a file fill its data: end to end but for padding, in whatever order, and all within the file. */
final class DataCheck {
  private static final System.Logger LOG = System.getLogger(DataCheck.class.getName());

  private final SourceFile file;
  private final long dataStart;
  private final long alignment;

  DataCheck(SourceFile file, long dataStart, long alignment) {
    this.file = file;
    this.dataStart = dataStart;
    this.alignment = alignment;
  }

  /** Checks {@code tensors}, whose padded bytes add up to less than 2^63. */
  void check(List<TensorPlace> tensors) throws MalformedModelException {
    List<TensorPlace> sorted = new ArrayList<>(tensors);
    // Tensors without bytes come before the one that they share their offset with.
    sorted.sort(Comparator.comparingLong(TensorPlace::offset).thenComparingLong(tensor -> tensor.bytes()));
    long end = 0;
    String before = "the start";
    for (TensorPlace tensor : sorted) {
      if (tensor.offset() != end) {
        throw malformed(
            "GG-OFFSET",
            tensor,
            "begins at " + tensor.offset() + " but " + before + ", with padding to " + alignment + ", ends at " + end + " of the data");
      }
      end += GgufHeader.align(tensor.bytes(), alignment);
      before = "tensor " + Names.quote(tensor.info().name());
    }
    for (TensorPlace tensor : sorted) {
      if (tensor.bytes() > 0 && tensor.bytes() > file.size() - dataStart - tensor.offset()) {
        throw malformed(
            "GG-EOF",
            tensor,
            "needs " + tensor.bytes() + " bytes from " + tensor.offset() + " of the data on, which begins at byte " + dataStart
                + " of a file of " + file.size());
      }
    }
    if (file.size() - dataStart > end) {
      LOG.log(
          System.Logger.Level.WARNING,
          Paths.prefix(file.path()) + (file.size() - dataStart - end) + " bytes follow the weights; they are not kept in outputs");
    }
  }

  private MalformedModelException malformed(String rule, TensorPlace tensor, String message) {
    return new MalformedModelException(
        file.path(), rule, tensor.position(), "tensor " + Names.quote(tensor.info().name()) + " " + message);
  }
}
