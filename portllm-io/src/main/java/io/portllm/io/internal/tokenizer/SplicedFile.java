package io.portllm.io.internal.tokenizer;

import com.google.common.collect.ImmutableList;
import com.google.common.io.ByteStreams;
import io.portllm.SideFile;
import java.io.ByteArrayInputStream;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.SequenceInputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** A side file with some of its bytes replaced, as it is read. */
final class SplicedFile implements SideFile {
  private final SideFile source;
  private final List<Edit> edits;

  /**
   * Text in place of some bytes.
   *
   * @param from the first byte
   * @param to the byte after the last; {@code from} to insert
   */
  record Edit(long from, long to, String text) {}

  /** {@code source} with {@code edits}, which are in the order of their places and do not overlap. */
  SplicedFile(SideFile source, List<Edit> edits) {
    this.source = source;
    this.edits = ImmutableList.copyOf(edits);
  }

  @Override
  public String name() {
    return source.name();
  }

  @Override
  public InputStream open() throws IOException {
    InputStream file = source.open();
    // Parts are closed where they end, and all of them read one file.
    InputStream in = unclosed(file);
    List<InputStream> parts = new ArrayList<>();
    long at = 0;
    for (Edit edit : edits) {
      parts.add(ByteStreams.limit(in, edit.from() - at));
      parts.add(new ByteArrayInputStream(edit.text().getBytes(StandardCharsets.UTF_8)));
      parts.add(new Skipped(in, edit.to() - edit.from()));
      at = edit.to();
    }
    parts.add(in);
    return new FilterInputStream(new SequenceInputStream(Collections.enumeration(parts))) {
      @Override
      public void close() throws IOException {
        file.close();
      }
    };
  }

  private static InputStream unclosed(InputStream in) {
    return new FilterInputStream(in) {
      @Override
      public void close() {}
    };
  }

  /** Bytes that are read over. */
  private static final class Skipped extends InputStream {
    private final InputStream in;
    private long left;

    Skipped(InputStream in, long left) {
      this.in = in;
      this.left = left;
    }

    @Override
    public int read() throws IOException {
      ByteStreams.skipFully(in, left);
      left = 0;
      return -1;
    }
  }
}
