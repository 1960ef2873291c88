package io.portllm.spark;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import org.apache.hadoop.fs.Abortable;
import org.apache.hadoop.fs.CommonPathCapabilities;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.StreamCapabilities;
import org.apache.hadoop.util.Progressable;

/** What matters here of an object store: objects appear when their stream is closed, unless it is aborted, and nothing is renamed. */
public final class ObjectFiles extends StoreFiles {
  /** An upload. */
  private final class Upload extends ByteArrayOutputStream implements Abortable, StreamCapabilities {
    private final Path path;
    private final Progressable progress;
    private boolean aborted;

    private Upload(Path path, Progressable progress) {
      this.path = path;
      this.progress = progress;
    }

    @Override
    public void close() throws IOException {
      if (!aborted) {
        try (FSDataOutputStream object = ObjectFiles.super.create(path, true, 4096, (short) 1, 1 << 20, progress)) {
          writeTo(object);
        }
      }
    }

    @Override
    public AbortableResult abort() {
      aborted = true;
      return null;
    }

    @Override
    public boolean hasCapability(String capability) {
      return capability.equals(CommonPathCapabilities.ABORTABLE_STREAM);
    }
  }

  @Override
  public FSDataOutputStream create(Path path, boolean overwrite, int buffer, short replication, long block, Progressable progress)
      throws IOException {
    onCreate.run();
    Upload upload = new Upload(path, progress);
    if (FAILURES.getAndUpdate(left -> Math.max(0, left - 1)) == 0) {
      return new FSDataOutputStream(upload, null);
    }
    return new FSDataOutputStream(upload, null) {
      @Override
      public void write(byte[] bytes, int offset, int length) throws IOException {
        upload.write(bytes, offset, length / 2);
        throw new IOException("broken off by the test");
      }
    };
  }

  @Override
  public boolean rename(Path from, Path to) {
    throw new AssertionError("renamed " + from + " to " + to);
  }
}
