package io.portllm.io.internal.files;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Locale;

/** Other files that are found under the name of a weight file. */
public final class Lookalike {
  private static final int LONGEST_MAGIC = 64;

  private Lookalike() {}

  /** What the file looks like, as the end of a message; empty if unknown. */
  public static String hint(SourceFile file) throws IOException {
    byte[] start = new byte[(int) Math.min(LONGEST_MAGIC, file.size())];
    file.readFully(0, ByteBuffer.wrap(start));
    String text = new String(start, StandardCharsets.ISO_8859_1);
    String what = what(text, text.stripLeading().toLowerCase(Locale.ROOT));
    return what.isEmpty() ? "" : "; it looks like " + what;
  }

  private static String what(String text, String lowered) {
    if (text.startsWith("version https://git-lfs")) {
      return "a Git LFS pointer: fetch the file itself with git lfs pull";
    }
    if (text.startsWith("PK\u0003\u0004")) {
      return "a zip archive or a PyTorch checkpoint (pickle), which is not read";
    }
    if (text.startsWith("\u0080") && text.length() > 1 && text.charAt(1) >= 2 && text.charAt(1) <= 5) {
      return "a pickle, which is not read";
    }
    if (text.startsWith("GGUF")) {
      return "a GGUF file";
    }
    if (text.startsWith("\u0089HDF")) {
      return "an HDF5 file";
    }
    if (text.startsWith("\u001f\u008b")) {
      return "a gzip archive";
    }
    if (lowered.startsWith("<!doctype") || lowered.startsWith("<html") || lowered.startsWith("<?xml")) {
      return "a web page: a download that failed";
    }
    if (lowered.startsWith("{")) {
      return "JSON text; a model with an index is opened by its folder";
    }
    return "";
  }
}
