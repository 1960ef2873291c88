package io.portllm.internal.cuda;

import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.util.Optional;

/**
 * The first GPU that the CUDA driver shows, which the environment variable {@code CUDA_VISIBLE_DEVICES} chooses among several. Other
 * classes of the GPU path are loaded only where the driver's library is.
 */
public final class Devices {
  private static final Found FOUND = find();

  private Devices() {}

  private record Found(Object device, String problem) {}

  @SuppressWarnings("restricted")
  private static Found find() {
    SymbolLookup library;
    try {
      library = SymbolLookup.libraryLookup(System.mapLibraryName("cuda") + ".1", Arena.global());
    } catch (IllegalArgumentException e) {
      return new Found(null, "there is no CUDA driver (libcuda.so.1)");
    } catch (IllegalCallerException e) {
      return new Found(null, "native access is denied (--enable-native-access=ALL-UNNAMED allows it)");
    }
    try {
      return new Found(CudaDevice.first(library), null);
    } catch (IllegalStateException e) {
      return new Found(null, e.getMessage());
    }
  }

  /** Why there is none; empty if there is one. */
  public static Optional<String> problem() {
    return Optional.ofNullable(FOUND.problem());
  }

  /**
   * The GPU.
   *
   * @throws IllegalStateException if there is none
   */
  public static Device get() {
    if (FOUND.problem() != null) {
      throw new IllegalStateException(FOUND.problem());
    }
    return (Device) FOUND.device();
  }
}
