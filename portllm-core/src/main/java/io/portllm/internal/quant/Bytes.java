package io.portllm.internal.quant;

import io.portllm.internal.kernel.Floats;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;

/** Little-endian numbers in the bytes of a block. */
final class Bytes {
  private static final VarHandle SHORTS = MethodHandles.byteArrayViewVarHandle(short[].class, ByteOrder.LITTLE_ENDIAN);
  private static final VarHandle INTS = MethodHandles.byteArrayViewVarHandle(int[].class, ByteOrder.LITTLE_ENDIAN);

  private Bytes() {}

  static int u8(byte[] bytes, int at) {
    return bytes[at] & 0xff;
  }

  static int u16(byte[] bytes, int at) {
    return (short) SHORTS.get(bytes, at) & 0xffff;
  }

  static int i32(byte[] bytes, int at) {
    return (int) INTS.get(bytes, at);
  }

  static float f16(byte[] bytes, int at) {
    return Floats.f16ToFloat(u16(bytes, at));
  }

  static float f32(byte[] bytes, int at) {
    return Float.intBitsToFloat(i32(bytes, at));
  }

  static void putU16(byte[] bytes, int at, int value) {
    SHORTS.set(bytes, at, (short) value);
  }

  static void putI32(byte[] bytes, int at, int value) {
    INTS.set(bytes, at, value);
  }

  static void putF16(byte[] bytes, int at, float value) {
    putU16(bytes, at, Floats.floatToF16(value));
  }

  static void putF32(byte[] bytes, int at, float value) {
    putI32(bytes, at, Float.floatToRawIntBits(value));
  }
}
