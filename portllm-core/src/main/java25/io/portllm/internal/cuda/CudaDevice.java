package io.portllm.internal.cuda;

import io.portllm.DType;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.concurrent.ConcurrentHashMap;
import java.util.zip.GZIPInputStream;

/** A GPU behind the CUDA driver API. Its primary context is kept until the JVM ends. */
final class CudaDevice implements Device {
  private final Driver driver;
  private final long context;
  private final String name;
  private final int multiprocessors;
  /** The compute capability, times ten. */
  private final int capability;
  /** Whether the GPU converts 8-bit elements and the driver knows how. */
  private final boolean hasFp8;
  private final ConcurrentHashMap<DType, Long> modules = new ConcurrentHashMap<>();
  private final ConcurrentHashMap<Kernel, Long> functions = new ConcurrentHashMap<>();

  private record Kernel(DType type, String name) {}

  private CudaDevice(Driver driver, int device) {
    this.driver = driver;
    this.name = driver.name(device);
    int major = driver.attribute(device, Driver.CAPABILITY_MAJOR);
    int minor = driver.attribute(device, Driver.CAPABILITY_MINOR);
    this.capability = 10 * major + minor;
    if (capability < 75) {
      throw new IllegalStateException(name + " has compute capability " + major + "." + minor + ", and the kernels need 7.5");
    }
    this.hasFp8 = capability >= 89 && driver.version() >= 12010;
    this.multiprocessors = driver.attribute(device, Driver.MULTIPROCESSORS);
    this.context = driver.retainContext(device);
  }

  /**
   * The first device.
   *
   * @throws IllegalStateException if there is none that can be used, saying why
   */
  static Device first(SymbolLookup library) {
    Driver driver = new Driver(library);
    driver.init();
    if (driver.devices() == 0) {
      throw new IllegalStateException("the CUDA driver shows no GPU");
    }
    return new CudaDevice(driver, driver.device(0));
  }

  /**
   * Loads the kernels for weights of one type. They are PTX for every GPU from compute capability 7.5 on and for those from 8.0 on, of 8-bit
   * types from 8.9 on, which the driver translates for its own GPU and keeps for the next time.
   */
  private long load(DType type) {
    int level = type.bits() == 8 ? (hasFp8 ? 89 : 75) : (capability >= 80 ? 80 : 75);
    try (InputStream in = CudaDevice.class.getResourceAsStream("merge." + type + "." + level + ".ptx.gz");
        GZIPInputStream text = new GZIPInputStream(in);
        Arena arena = Arena.ofConfined()) {
      byte[] ptx = text.readAllBytes();
      MemorySegment image = arena.allocate(ptx.length + 1L);
      MemorySegment.copy(MemorySegment.ofArray(ptx), 0, image, 0, ptx.length);
      return enter().loadModule(image);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Makes the context the calling thread's, as every other call but a few needs. */
  Driver enter() {
    driver.setContext(context);
    return driver;
  }

  /** The kernel of this name for weights of one type. */
  long function(DType type, String kernel) {
    return functions.computeIfAbsent(
        new Kernel(type, kernel), any -> driver.function(modules.computeIfAbsent(type, this::load), kernel));
  }

  int multiprocessors() {
    return multiprocessors;
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public long totalBytes() {
    return enter().memory()[1];
  }

  @Override
  public long freeBytes() {
    return enter().memory()[0];
  }

  @Override
  public long allocate(long bytes) {
    return enter().allocate(Math.max(1, bytes));
  }

  @Override
  public void free(long address) {
    enter().free(address);
  }

  @Override
  @SuppressWarnings("restricted")
  public ByteBuffer allocateHost(int bytes) {
    long address = enter().allocateHost(bytes);
    return MemorySegment.ofAddress(address).reinterpret(bytes).asByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
  }

  @Override
  public void freeHost(ByteBuffer buffer) {
    enter().freeHost(address(buffer, 0));
  }

  /** The address of byte {@code at} of a buffer. */
  static long address(ByteBuffer buffer, int at) {
    return MemorySegment.ofBuffer(buffer).address() - buffer.position() + at;
  }

  @Override
  public DeviceStream newStream() {
    return new CudaStream(this, enter().createStream());
  }
}
