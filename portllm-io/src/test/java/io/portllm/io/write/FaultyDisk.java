package io.portllm.io.write;

import io.portllm.io.internal.write.Disk;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** A disk of which one operation, counted from the first, goes wrong. Nothing is synced: no test here cuts the power. */
final class FaultyDisk implements Disk {
  /** What goes wrong. */
  enum Fault {
    /** The operation is not done, and says so. */
    FAIL,
    /** The operation is done, and says that it was not. */
    FAIL_AFTERWARDS,
    /** This operation and all that follow are not done, and say so. */
    FAIL_FROM_THEN_ON,
    /** A write does half of what it was asked for and the next fails, as on a full disk; other operations go well. */
    NO_SPACE,
    /** From here on every write takes one byte. */
    SHORT_WRITES,
    /** The process dies before the operation. */
    HALT,
    /** The process dies in the middle of a write. */
    HALT_AFTERWARDS;

    /** Whether this may happen to an operation in a way of its own. */
    boolean concerns(String operation) {
      return switch (this) {
        case NO_SPACE, SHORT_WRITES, HALT_AFTERWARDS -> operation.equals("write");
        case FAIL, FAIL_AFTERWARDS, FAIL_FROM_THEN_ON, HALT -> true;
      };
    }
  }

  /** Stands for the death of the process: nothing that runs after it does anything. */
  static final class Halt extends Error {
    private static final long serialVersionUID = 1L;
  }

  private final Fault fault;
  private final int turn;
  private final List<String> operations = new ArrayList<>();
  private boolean isFull;
  private boolean isDead;

  /** The operation of number {@code turn} goes wrong; none if there are fewer. */
  FaultyDisk(Fault fault, int turn) {
    this.fault = fault;
    this.turn = turn;
  }

  /** The names of the operations that were asked for. */
  List<String> operations() {
    return operations;
  }

  private interface Operation {
    void run() throws IOException;
  }

  private synchronized void run(String name, Operation operation) throws IOException {
    if (isDead) {
      throw new Halt();
    }
    int number = operations.size();
    operations.add(name);
    if (number < turn || fault == Fault.NO_SPACE || fault == Fault.SHORT_WRITES || number > turn && fault != Fault.FAIL_FROM_THEN_ON) {
      operation.run();
      return;
    }
    if (fault == Fault.FAIL_AFTERWARDS || fault == Fault.HALT_AFTERWARDS) {
      operation.run();
    }
    if (fault == Fault.HALT || fault == Fault.HALT_AFTERWARDS) {
      isDead = true;
      throw new Halt();
    }
    throw new IOException(name + " does not work");
  }

  private synchronized int write(Sink sink, ByteBuffer bytes, long position) throws IOException {
    int number = operations.size();
    int most = bytes.remaining();
    if (number >= turn && fault == Fault.SHORT_WRITES) {
      most = 1;
    } else if (number == turn && (fault == Fault.HALT_AFTERWARDS || fault == Fault.FAIL_AFTERWARDS || fault == Fault.NO_SPACE)) {
      most /= 2;
    }
    if (isFull) {
      operations.add("write");
      throw new IOException("No space left on device");
    }
    isFull = number >= turn && fault == Fault.NO_SPACE;
    ByteBuffer part = bytes.duplicate().limit(bytes.position() + most);
    run("write", () -> sink.write(part, position));
    int written = part.position() - bytes.position();
    bytes.position(part.position());
    return written;
  }

  @Override
  public Sink create(Path file) throws IOException {
    List<Sink> made = new ArrayList<>();
    try {
      run("create", () -> made.add(Disk.REAL.create(file)));
    } catch (Throwable e) {
      for (Sink sink : made) {
        sink.close();
      }
      throw e;
    }
    Sink sink = made.get(0);
    return new Sink() {
      @Override
      public int write(ByteBuffer bytes, long position) throws IOException {
        return FaultyDisk.this.write(sink, bytes, position);
      }

      @Override
      public void force() throws IOException {
        run("force", () -> {});
      }

      @Override
      public void close() throws IOException {
        sink.close();
      }
    };
  }

  @Override
  public FileChannel openLock(Path file) throws IOException {
    List<FileChannel> made = new ArrayList<>();
    try {
      run("lock", () -> made.add(Disk.REAL.openLock(file)));
    } catch (Throwable e) {
      for (FileChannel channel : made) {
        channel.close();
      }
      throw e;
    }
    return made.get(0);
  }

  @Override
  public void createFolder(Path folder) throws IOException {
    run("createFolder", () -> Disk.REAL.createFolder(folder));
  }

  @Override
  public void move(Path from, Path to) throws IOException {
    run("move", () -> Disk.REAL.move(from, to));
  }

  @Override
  public void delete(Path path) throws IOException {
    run("delete", () -> Disk.REAL.delete(path));
  }

  @Override
  public void forceFolder(Path folder) throws IOException {
    run("forceFolder", () -> {});
  }

  @Override
  public long room(Path folder) throws IOException {
    long[] room = new long[1];
    run("room", () -> room[0] = Disk.REAL.room(folder));
    return room[0];
  }
}
