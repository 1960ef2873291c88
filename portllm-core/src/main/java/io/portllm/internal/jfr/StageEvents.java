package io.portllm.internal.jfr;

import jdk.jfr.Category;
import jdk.jfr.DataAmount;
import jdk.jfr.Description;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;

/** The events. Their names and fields are public: {@code docs/reference/jfr.md}. */
final class StageEvents {
  private StageEvents() {}

  static Stage read(String file, long position, long bytes) {
    return new Read().begun(file, position, bytes);
  }

  static Stage merge(String tensor, long bytes) {
    return new Merge().begun(tensor, bytes);
  }

  static Stage hash(String what, long bytes) {
    return new Hash().begun(what, bytes);
  }

  static Stage write(String file, long position, long bytes) {
    return new Write().begun(file, position, bytes);
  }

  static Stage force(String file) {
    return new Force().begun(file);
  }

  /** An event that is a stage. */
  @Category("PortLLM")
  @StackTrace(false)
  abstract static class StageEvent extends Event implements Stage {
    final Stage orNone() {
      if (!isEnabled()) {
        return NONE;
      }
      begin();
      return this;
    }

    @Override
    public final void done() {
      commit();
    }
  }

  @Name("io.portllm.Read")
  @Label("Read")
  @Description("Bytes are read from a model's file")
  static final class Read extends StageEvent {
    @Label("File")
    String file;

    @Label("Position")
    long position;

    @Label("Bytes")
    @DataAmount
    long bytes;

    Stage begun(String path, long from, long count) {
      file = path;
      position = from;
      bytes = count;
      return orNone();
    }
  }

  @Name("io.portllm.Merge")
  @Label("Merge")
  @Description("Changes are merged into weights")
  static final class Merge extends StageEvent {
    @Label("Tensor")
    String tensor;

    @Label("Bytes")
    @Description("Bytes of the result")
    @DataAmount
    long bytes;

    Stage begun(String name, long count) {
      tensor = name;
      bytes = count;
      return orNone();
    }
  }

  @Name("io.portllm.Hash")
  @Label("Hash")
  @Description("A tensor or a file is read and digested")
  static final class Hash extends StageEvent {
    @Label("What")
    @Description("The name of the tensor, or the file")
    String what;

    @Label("Bytes")
    @DataAmount
    long bytes;

    Stage begun(String name, long count) {
      what = name;
      bytes = count;
      return orNone();
    }
  }

  @Name("io.portllm.Write")
  @Label("Write")
  @Description("Bytes are written to an output's file")
  static final class Write extends StageEvent {
    @Label("File")
    String file;

    @Label("Position")
    long position;

    @Label("Bytes")
    @DataAmount
    long bytes;

    Stage begun(String path, long from, long count) {
      file = path;
      position = from;
      bytes = count;
      return orNone();
    }
  }

  @Name("io.portllm.Force")
  @Label("Force")
  @Description("What was written to a file is put on the disk")
  static final class Force extends StageEvent {
    @Label("File")
    String file;

    Stage begun(String path) {
      file = path;
      return orNone();
    }
  }
}
