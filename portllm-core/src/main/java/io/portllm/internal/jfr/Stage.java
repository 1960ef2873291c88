package io.portllm.internal.jfr;

/**
 * A piece of work that Flight Recorder is told of, from its making until it is done; of one that failed it is not told. Without a
 * recording, or in a runtime image without the module {@code jdk.jfr}, it is {@link #NONE}, and no class of that module is touched.
 */
public interface Stage {
  /** Nobody is told. */
  Stage NONE = () -> {};

  /** Ends the work. */
  void done();

  /** Bytes are read from a model's file. */
  static Stage read(Object file, long position, long bytes) {
    return Recordings.running() ? StageEvents.read(file.toString(), position, bytes) : NONE;
  }

  /** Changes are merged into weights of {@code tensor}. */
  static Stage merge(String tensor, long bytes) {
    return Recordings.running() ? StageEvents.merge(tensor, bytes) : NONE;
  }

  /** Bytes of a tensor or a file are digested; reading them is part of it. */
  static Stage hash(Object what, long bytes) {
    return Recordings.running() ? StageEvents.hash(what.toString(), bytes) : NONE;
  }

  /** Bytes are written to an output's file. */
  static Stage write(Object file, long position, long bytes) {
    return Recordings.running() ? StageEvents.write(file.toString(), position, bytes) : NONE;
  }

  /** What was written to a file is put on the disk. */
  static Stage force(Object file) {
    return Recordings.running() ? StageEvents.force(file.toString()) : NONE;
  }
}
