package io.portllm.internal.cuda;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;

/**
 * The functions of the CUDA driver API that are used. Pointers and handles are longs here: the calling conventions of the systems that
 * CUDA runs on pass both in the same way.
 *
 * <p>Every method throws {@link IllegalStateException} with the driver's name of the error.
 */
final class Driver {
  /** {@code CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT}. */
  static final int MULTIPROCESSORS = 16;
  /** {@code CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR}. */
  static final int CAPABILITY_MAJOR = 75;
  /** {@code CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR}. */
  static final int CAPABILITY_MINOR = 76;

  private final SymbolLookup library;
  private final Call getErrorName;
  private final Call init;
  private final Call driverGetVersion;
  private final Call deviceGetCount;
  private final Call deviceGet;
  private final Call deviceGetName;
  private final Call deviceGetAttribute;
  private final Call retainContext;
  private final Call setContext;
  private final Call loadModule;
  private final Call getFunction;
  private final Call launchKernel;
  private final Call memoryInfo;
  private final Call allocate;
  private final Call free;
  private final Call allocateHost;
  private final Call freeHost;
  private final Call upload;
  private final Call download;
  private final Call copy;
  private final Call fill;
  private final Call createStream;
  private final Call destroyStream;
  private final Call synchronize;
  private final Call await;
  private final Call createEvent;
  private final Call recordEvent;
  private final Call elapsed;

  /** The functions of {@code library}. */
  Driver(SymbolLookup library) {
    this.library = library;
    this.getErrorName = call("cuGetErrorName", JAVA_INT, JAVA_LONG);
    this.init = call("cuInit", JAVA_INT);
    this.driverGetVersion = call("cuDriverGetVersion", JAVA_LONG);
    this.deviceGetCount = call("cuDeviceGetCount", JAVA_LONG);
    this.deviceGet = call("cuDeviceGet", JAVA_LONG, JAVA_INT);
    this.deviceGetName = call("cuDeviceGetName", JAVA_LONG, JAVA_INT, JAVA_INT);
    this.deviceGetAttribute = call("cuDeviceGetAttribute", JAVA_LONG, JAVA_INT, JAVA_INT);
    this.retainContext = call("cuDevicePrimaryCtxRetain", JAVA_LONG, JAVA_INT);
    this.setContext = call("cuCtxSetCurrent", JAVA_LONG);
    this.loadModule = call("cuModuleLoadData", JAVA_LONG, JAVA_LONG);
    this.getFunction = call("cuModuleGetFunction", JAVA_LONG, JAVA_LONG, JAVA_LONG);
    this.launchKernel =
        call(
            "cuLaunchKernel", JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_LONG,
            JAVA_LONG);
    this.memoryInfo = call("cuMemGetInfo_v2", JAVA_LONG, JAVA_LONG);
    this.allocate = call("cuMemAlloc_v2", JAVA_LONG, JAVA_LONG);
    this.free = call("cuMemFree_v2", JAVA_LONG);
    this.allocateHost = call("cuMemHostAlloc", JAVA_LONG, JAVA_LONG, JAVA_INT);
    this.freeHost = call("cuMemFreeHost", JAVA_LONG);
    this.upload = call("cuMemcpyHtoDAsync_v2", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG);
    this.download = call("cuMemcpyDtoHAsync_v2", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG);
    this.copy = call("cuMemcpyDtoDAsync_v2", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG);
    this.fill = call("cuMemsetD8Async", JAVA_LONG, JAVA_BYTE, JAVA_LONG, JAVA_LONG);
    this.createStream = call("cuStreamCreate", JAVA_LONG, JAVA_INT);
    this.destroyStream = call("cuStreamDestroy_v2", JAVA_LONG);
    this.synchronize = call("cuStreamSynchronize", JAVA_LONG);
    this.await = call("cuStreamWaitEvent", JAVA_LONG, JAVA_LONG, JAVA_INT);
    this.createEvent = call("cuEventCreate", JAVA_LONG, JAVA_INT);
    this.recordEvent = call("cuEventRecord", JAVA_LONG, JAVA_LONG);
    this.elapsed = call("cuEventElapsedTime", JAVA_LONG, JAVA_LONG, JAVA_LONG);
  }

  /** A function that returns an error code. */
  private record Call(String name, MethodHandle function) {}

  @SuppressWarnings("restricted")
  private Call call(String name, MemoryLayout... arguments) {
    MemorySegment address =
        library.find(name).orElseThrow(() -> new IllegalStateException("the CUDA driver has no " + name + " and must be updated"));
    return new Call(name, Linker.nativeLinker().downcallHandle(address, FunctionDescriptor.of(JAVA_INT, arguments)));
  }

  /** An invocation of a function with its arguments, whose types must be exactly those of the function. */
  private interface Invocation {
    int run(MethodHandle function) throws Throwable;
  }

  private void require(Call call, Invocation invocation) {
    int error = code(call, invocation);
    if (error != 0) {
      throw new IllegalStateException(call.name() + " failed: " + nameOf(error));
    }
  }

  private static int code(Call call, Invocation invocation) {
    try {
      return invocation.run(call.function());
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new IllegalStateException(call.name() + " could not be called", e);
    }
  }

  @SuppressWarnings("restricted")
  private String nameOf(int error) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment name = arena.allocate(JAVA_LONG);
      int unknown = code(getErrorName, f -> (int) f.invokeExact(error, name.address()));
      long text = name.get(JAVA_LONG, 0);
      return unknown != 0 || text == 0 ? "error " + error : MemorySegment.ofAddress(text).reinterpret(256).getString(0);
    }
  }

  /** What a function writes to the place of its first argument. */
  private long result(Call call, ResultOf invocation) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment place = arena.allocate(JAVA_LONG);
      require(call, f -> invocation.run(f, place.address()));
      return place.get(JAVA_LONG, 0);
    }
  }

  private interface ResultOf {
    int run(MethodHandle function, long place) throws Throwable;
  }

  void init() {
    require(init, f -> (int) f.invokeExact(0));
  }

  /** The newest CUDA version that the driver serves, 12010 for 12.1. */
  int version() {
    return (int) result(driverGetVersion, (f, place) -> (int) f.invokeExact(place));
  }

  int devices() {
    return (int) result(deviceGetCount, (f, place) -> (int) f.invokeExact(place));
  }

  int device(int number) {
    return (int) result(deviceGet, (f, place) -> (int) f.invokeExact(place, number));
  }

  String name(int device) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment text = arena.allocate(256);
      require(deviceGetName, f -> (int) f.invokeExact(text.address(), 256, device));
      return text.getString(0);
    }
  }

  int attribute(int device, int attribute) {
    return (int) result(deviceGetAttribute, (f, place) -> (int) f.invokeExact(place, attribute, device));
  }

  /** The device's primary context, which the CUDA runtime API uses too, so that pointers are good for both. */
  long retainContext(int device) {
    return result(retainContext, (f, place) -> (int) f.invokeExact(place, device));
  }

  /** Makes a context the calling thread's. */
  void setContext(long context) {
    require(setContext, f -> (int) f.invokeExact(context));
  }

  /** Loads a module from PTX that ends in a zero. */
  long loadModule(MemorySegment image) {
    return result(loadModule, (f, place) -> (int) f.invokeExact(place, image.address()));
  }

  long function(long module, String name) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment text = arena.allocateFrom(name);
      return result(getFunction, (f, place) -> (int) f.invokeExact(place, module, text.address()));
    }
  }

  /** Starts a kernel with one-dimensional blocks; the driver copies the parameters before it returns. */
  void launch(long kernel, int blocks, int threads, long stream, MemorySegment parameters) {
    require(
        launchKernel, f -> (int) f.invokeExact(kernel, blocks, 1, 1, threads, 1, 1, 0, stream, parameters.address(), 0L));
  }

  /** Free bytes and all bytes of the current context's device. */
  long[] memory() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment sizes = arena.allocate(JAVA_LONG, 2);
      require(memoryInfo, f -> (int) f.invokeExact(sizes.address(), sizes.address() + 8));
      return new long[] {sizes.get(JAVA_LONG, 0), sizes.get(JAVA_LONG, 8)};
    }
  }

  long allocate(long bytes) {
    return result(allocate, (f, place) -> (int) f.invokeExact(place, bytes));
  }

  void free(long address) {
    require(free, f -> (int) f.invokeExact(address));
  }

  long allocateHost(long bytes) {
    return result(allocateHost, (f, place) -> (int) f.invokeExact(place, bytes, 0));
  }

  void freeHost(long address) {
    require(freeHost, f -> (int) f.invokeExact(address));
  }

  void upload(long host, long address, long bytes, long stream) {
    require(upload, f -> (int) f.invokeExact(address, host, bytes, stream));
  }

  void download(long address, long host, long bytes, long stream) {
    require(download, f -> (int) f.invokeExact(host, address, bytes, stream));
  }

  void copy(long from, long to, long bytes, long stream) {
    require(copy, f -> (int) f.invokeExact(to, from, bytes, stream));
  }

  void fill(long address, byte value, long bytes, long stream) {
    require(fill, f -> (int) f.invokeExact(address, value, bytes, stream));
  }

  /** A stream that does not wait for the default stream. */
  long createStream() {
    return result(createStream, (f, place) -> (int) f.invokeExact(place, 1));
  }

  void destroyStream(long stream) {
    require(destroyStream, f -> (int) f.invokeExact(stream));
  }

  void synchronize(long stream) {
    require(synchronize, f -> (int) f.invokeExact(stream));
  }

  void await(long stream, long event) {
    require(await, f -> (int) f.invokeExact(stream, event, 0));
  }

  /** An event that takes the time. */
  long createEvent() {
    return result(createEvent, (f, place) -> (int) f.invokeExact(place, 0));
  }

  void recordEvent(long event, long stream) {
    require(recordEvent, f -> (int) f.invokeExact(event, stream));
  }

  float elapsed(long earlier, long later) {
    return Float.intBitsToFloat((int) result(elapsed, (f, place) -> (int) f.invokeExact(place, earlier, later)));
  }
}
