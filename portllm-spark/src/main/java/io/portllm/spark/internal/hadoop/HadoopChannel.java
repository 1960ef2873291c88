package io.portllm.spark.internal.hadoop;

import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.MappedByteBuffer;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.NonWritableChannelException;
import java.nio.channels.ReadableByteChannel;
import java.nio.channels.WritableByteChannel;
import org.apache.hadoop.fs.FSDataInputStream;

/** A Hadoop stream that is read by position. Safe for use by many threads, as Hadoop's positioned reads are. */
final class HadoopChannel extends FileChannel {
  /** The most bytes of one read: 1 MiB, which the caller's buffer is filled from where it has no array. */
  private static final int LARGEST_READ = 1 << 20;

  private final FSDataInputStream in;
  private final long size;
  private long position;

  HadoopChannel(FSDataInputStream in, long size) {
    this.in = in;
    this.size = size;
  }

  @Override
  public int read(ByteBuffer destination, long from) throws IOException {
    if (from < 0) {
      throw new IllegalArgumentException("the position must be at least 0 but was " + from);
    }
    requireOpen();
    if (from >= size) {
      return -1;
    }
    int count = (int) Math.min(Math.min(destination.remaining(), LARGEST_READ), size - from);
    try {
      if (destination.hasArray()) {
        in.readFully(from, destination.array(), destination.arrayOffset() + destination.position(), count);
        destination.position(destination.position() + count);
      } else {
        byte[] bytes = new byte[count];
        in.readFully(from, bytes, 0, count);
        destination.put(bytes);
      }
    } catch (EOFException e) {
      return -1;
    }
    return count;
  }

  @Override
  public synchronized int read(ByteBuffer destination) throws IOException {
    int count = read(destination, position);
    position += Math.max(0, count);
    return count;
  }

  @Override
  public synchronized long read(ByteBuffer[] destinations, int offset, int length) throws IOException {
    long total = 0;
    for (int i = offset; i < offset + length; i++) {
      while (destinations[i].hasRemaining()) {
        int count = read(destinations[i]);
        if (count < 0) {
          return total == 0 ? -1 : total;
        }
        total += count;
      }
    }
    return total;
  }

  @Override
  public synchronized long position() throws IOException {
    requireOpen();
    return position;
  }

  @Override
  public synchronized FileChannel position(long to) throws IOException {
    requireOpen();
    if (to < 0) {
      throw new IllegalArgumentException("the position must be at least 0 but was " + to);
    }
    position = to;
    return this;
  }

  @Override
  public long size() throws IOException {
    requireOpen();
    return size;
  }

  private void requireOpen() throws ClosedChannelException {
    if (!isOpen()) {
      throw new ClosedChannelException();
    }
  }

  @Override
  protected void implCloseChannel() throws IOException {
    in.close();
  }

  @Override
  public void force(boolean metadata) {}

  @Override
  public long transferTo(long from, long count, WritableByteChannel target) {
    throw new UnsupportedOperationException("transfers");
  }

  @Override
  public MappedByteBuffer map(MapMode mode, long from, long length) {
    throw new UnsupportedOperationException("mapping");
  }

  @Override
  public FileLock lock(long from, long length, boolean shared) {
    throw new UnsupportedOperationException("locks");
  }

  @Override
  public FileLock tryLock(long from, long length, boolean shared) {
    throw new UnsupportedOperationException("locks");
  }

  @Override
  public int write(ByteBuffer source) {
    throw new NonWritableChannelException();
  }

  @Override
  public long write(ByteBuffer[] sources, int offset, int length) {
    throw new NonWritableChannelException();
  }

  @Override
  public int write(ByteBuffer source, long to) {
    throw new NonWritableChannelException();
  }

  @Override
  public FileChannel truncate(long length) {
    throw new NonWritableChannelException();
  }

  @Override
  public long transferFrom(ReadableByteChannel source, long to, long count) {
    throw new NonWritableChannelException();
  }
}
