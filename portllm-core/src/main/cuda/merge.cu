// The arithmetic of io.portllm.Merger on a GPU, with the bits of its plain Java implementation.
//
// tools/gpu_kernels.sh compiles it once for each type of weights, WEIGHTS, with -fmad=false: no multiplication may be fused with an
// addition unless the product is exact. Every kernel reads weights from `source` and writes merged ones to `target`, which may be the
// same; a thread writes no element that another one reads. Pointers to weights and to changes of a whole run are aligned to 16 bytes.
// `counts` are those of io.portllm.Rounding, but the second counts weights whose bits changed: touched, changed, overflowed, nonFinite.

#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <stdint.h>

namespace {

constexpr int THREADS = 256;
constexpr uint32_t ALL = 0xffffffffu;

// The same number in each lane of a word.
template <int BYTES>
__host__ __device__ constexpr uint32_t lanes(uint32_t value) {
  return BYTES == 4 ? value : BYTES == 2 ? value * 0x10001u : value * 0x1010101u;
}

// Rounds a finite magnitude to the code of the nearest value, ties to even, at most `largest`.
template <int EXPONENT, int MANTISSA>
__device__ uint32_t roundMagnitude(uint32_t magnitude, uint32_t largest) {
  constexpr uint32_t bias = (1 << (EXPONENT - 1)) - 1;
  constexpr uint32_t shift = 23 - MANTISSA;
  uint32_t code = magnitude - ((127 - bias) << 23);
  uint32_t normal = (code + (1u << (shift - 1)) - 1 + ((code >> shift) & 1)) >> shift;
  // Next to a number whose last place is the least subnormal, the addition itself rounds to nearest, ties to even.
  constexpr uint32_t magic = (127 - bias + shift + 1) << 23;
  uint32_t subnormal = __float_as_uint(__fadd_rn(__uint_as_float(magnitude), __uint_as_float(magic))) - magic;
  return magnitude < ((127 - bias + 1) << 23) ? subnormal : min(normal, largest);
}

#if __CUDA_ARCH__ >= 890
// The GPU converts two 8-bit elements at once.
template <__nv_fp8_interpretation_t TYPE>
__device__ void unpackFp8(uint32_t word, float* out) {
  __half2_raw low = __nv_cvt_fp8x2_to_halfraw2(word & 0xffff, TYPE);
  __half2_raw high = __nv_cvt_fp8x2_to_halfraw2(word >> 16, TYPE);
  float2 first = __half22float2(__half2(low));
  float2 second = __half22float2(__half2(high));
  out[0] = first.x;
  out[1] = first.y;
  out[2] = second.x;
  out[3] = second.y;
}

template <__nv_fp8_interpretation_t TYPE>
__device__ uint32_t packFp8(const float* values) {
  uint32_t low = __nv_cvt_float2_to_fp8x2(make_float2(values[0], values[1]), __NV_SATFINITE, TYPE);
  uint32_t high = __nv_cvt_float2_to_fp8x2(make_float2(values[2], values[3]), __NV_SATFINITE, TYPE);
  return low | high << 16;
}
#endif

// Types. LARGEST: the largest number that pack() rounds; from compute capability 8.0 on, the largest that the type has. SPECIAL: the bits
// that are all set in an infinite or NaN element alone. unpack() widens the lanes of a word; narrow() rounds a finite number; pack()
// rounds a word of them. `exactNan` asks for NaN where an element is NaN, which only F8_E4M3 has to look for.

struct F32 {
  static constexpr int BYTES = 4;
  static constexpr uint32_t SPECIAL = 0x7f800000u;
  static constexpr float LARGEST = 0x1.fffffep127f;
  static __device__ void unpack(uint32_t word, float* out, bool) { out[0] = __uint_as_float(word); }
  static __device__ uint32_t narrow(float value) { return __float_as_uint(value); }
  static __device__ uint32_t pack(const float* values) { return narrow(values[0]); }
};

struct BF16 {
  static constexpr int BYTES = 2;
  static constexpr uint32_t SPECIAL = 0x7f80u;
#if __CUDA_ARCH__ >= 800
  static constexpr float LARGEST = 0x1.fep127f;
#else
  static constexpr float LARGEST = 0x1.fffffep127f;
#endif
  static __device__ void unpack(uint32_t word, float* out, bool) {
    out[0] = __uint_as_float(word << 16);
    out[1] = __uint_as_float(word & 0xffff0000u);
  }
  static __device__ uint32_t rounded(float value) {
    uint32_t bits = __float_as_uint(value);
    return bits + 0x7fff + ((bits >> 16) & 1);
  }
  static __device__ uint32_t narrow(float value) { return rounded(value) >> 16; }
  static __device__ uint32_t pack(const float* values) {
#if __CUDA_ARCH__ >= 800
    uint32_t word;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(values[1]), "f"(values[0]));
    return word;
#else
    return __byte_perm(rounded(values[0]), rounded(values[1]), 0x7632);
#endif
  }
};

struct F16 {
  static constexpr int BYTES = 2;
  static constexpr uint32_t SPECIAL = 0x7c00u;
#if __CUDA_ARCH__ >= 800
  static constexpr float LARGEST = 65504;
#else
  static constexpr float LARGEST = 0x1.fffffep127f;
#endif
  static __device__ void unpack(uint32_t word, float* out, bool) {
    float2 pair = __half22float2(*reinterpret_cast<__half2*>(&word));
    out[0] = pair.x;
    out[1] = pair.y;
  }
  static __device__ uint32_t narrow(float value) { return __half_as_ushort(__float2half_rn(value)); }
  static __device__ uint32_t pack(const float* values) {
    __half2 pair = __floats2half2_rn(values[0], values[1]);
    return *reinterpret_cast<uint32_t*>(&pair);
  }
};

struct F8_E5M2 {
  static constexpr int BYTES = 1;
  static constexpr uint32_t SPECIAL = 0x7cu;
#if __CUDA_ARCH__ >= 890
  static constexpr float LARGEST = 57344;
  static __device__ void unpack(uint32_t word, float* out, bool) { unpackFp8<__NV_E5M2>(word, out); }
  static __device__ uint32_t pack(const float* values) { return packFp8<__NV_E5M2>(values); }
#else
  static constexpr float LARGEST = 0x1.fffffep127f;
  // An element is the upper half of an F16.
  static __device__ void unpack(uint32_t word, float* out, bool exactNan) {
    F16::unpack(__byte_perm(word, 0, 0x1404), out, exactNan);
    F16::unpack(__byte_perm(word, 0, 0x3424), out + 2, exactNan);
  }
  static __device__ uint32_t pack(const float* values) {
    return narrow(values[0]) | narrow(values[1]) << 8 | narrow(values[2]) << 16 | narrow(values[3]) << 24;
  }
#endif
  static __device__ uint32_t narrow(float value) {
    uint32_t bits = __float_as_uint(value);
    return roundMagnitude<5, 2>(bits & 0x7fffffffu, SPECIAL) | (bits >> 31) << 7;
  }
};

struct F8_E4M3 {
  static constexpr int BYTES = 1;
  static constexpr uint32_t SPECIAL = 0x7fu;
#if __CUDA_ARCH__ >= 890
  static constexpr float LARGEST = 448;
  static __device__ void unpack(uint32_t word, float* out, bool) { unpackFp8<__NV_E4M3>(word, out); }
  static __device__ uint32_t pack(const float* values) { return packFp8<__NV_E4M3>(values); }
#else
  static constexpr float LARGEST = 0x1.fffffep127f;
  // One bit lower, an element is an F16 times 2^-8; subnormals included.
  static __device__ void pair(uint32_t high, float* out) {
    uint32_t bits = (high & 0x80008000u) | (high & 0x7f007f00u) >> 1;
    float2 values = __half22float2(__hmul2(*reinterpret_cast<__half2*>(&bits), __float2half2_rn(256.0f)));
    out[0] = values.x;
    out[1] = values.y;
  }
  static __device__ void unpack(uint32_t word, float* out, bool exactNan) {
    pair(__byte_perm(word, 0, 0x1404), out);
    pair(__byte_perm(word, 0, 0x3424), out + 2);
    if (exactNan && ((word & 0x7f7f7f7fu) + 0x01010101u & 0x80808080u)) {
#pragma unroll
      for (int k = 0; k < 4; k++) {
        out[k] = (word >> 8 * k & 0x7f) == 0x7f ? __uint_as_float(0x7fffffffu) : out[k];
      }
    }
  }
  static __device__ uint32_t pack(const float* values) {
    return narrow(values[0]) | narrow(values[1]) << 8 | narrow(values[2]) << 16 | narrow(values[3]) << 24;
  }
#endif
  static __device__ uint32_t narrow(float value) {
    uint32_t bits = __float_as_uint(value);
    return roundMagnitude<4, 3>(bits & 0x7fffffffu, SPECIAL) | (bits >> 31) << 7;
  }
};

template <class T>
__device__ uint32_t load(const void* elements, int64_t i) {
  return T::BYTES == 4 ? static_cast<const uint32_t*>(elements)[i]
       : T::BYTES == 2 ? static_cast<const uint16_t*>(elements)[i]
                       : static_cast<const uint8_t*>(elements)[i];
}

template <class T>
__device__ void store(void* elements, int64_t i, uint32_t bits) {
  if (T::BYTES == 4) {
    static_cast<uint32_t*>(elements)[i] = bits;
  } else if (T::BYTES == 2) {
    static_cast<uint16_t*>(elements)[i] = bits;
  } else {
    static_cast<uint8_t*>(elements)[i] = bits;
  }
}

template <class T>
__device__ float widen(uint32_t bits) {
  float values[4 / T::BYTES];
  T::unpack(bits, values, true);
  return values[0];
}

// W words from element `i` on, read once.
template <class T, int W>
__device__ void loadWords(const void* elements, int64_t i, uint32_t* words) {
  const char* at = static_cast<const char*>(elements) + i * T::BYTES;
  if constexpr (W % 4 == 0) {
#pragma unroll
    for (int w = 0; w < W; w += 4) {
      uint4 four = __ldcs(reinterpret_cast<const uint4*>(at) + w / 4);
      words[w] = four.x;
      words[w + 1] = four.y;
      words[w + 2] = four.z;
      words[w + 3] = four.w;
    }
  } else if constexpr (W == 2) {
    uint2 two = __ldcs(reinterpret_cast<const uint2*>(at));
    words[0] = two.x;
    words[1] = two.y;
  } else {
    words[0] = __ldcs(reinterpret_cast<const uint32_t*>(at));
  }
}

template <class T, int W>
__device__ void storeWords(void* elements, int64_t i, const uint32_t* words) {
  char* at = static_cast<char*>(elements) + i * T::BYTES;
  if constexpr (W % 4 == 0) {
#pragma unroll
    for (int w = 0; w < W; w += 4) {
      __stcs(reinterpret_cast<uint4*>(at) + w / 4, make_uint4(words[w], words[w + 1], words[w + 2], words[w + 3]));
    }
  } else if constexpr (W == 2) {
    __stcs(reinterpret_cast<uint2*>(at), make_uint2(words[0], words[1]));
  } else {
    __stcs(reinterpret_cast<uint32_t*>(at), words[0]);
  }
}

template <class T, int W>
__device__ void unpackWords(const uint32_t* words, float* values, bool exactNan) {
#pragma unroll
  for (int w = 0; w < W; w++) {
    T::unpack(words[w], values + w * (4 / T::BYTES), exactNan);
  }
}

// What one thread counted: negative sums of the bytes of touched elements, and of 128 for each changed one.
struct Counts {
  int touched = 0;
  int changed = 0;
};

// Merges one element; the contract of io.portllm.Merger read literally.
template <class T>
__device__ uint32_t mergeBits(uint32_t old, float change, Counts& counts, unsigned long long* total) {
  if (change == 0 || (old & T::SPECIAL) == T::SPECIAL) {
    return old;
  }
  float sum = __fadd_rn(widen<T>(old), change);
  bool finite = (__float_as_uint(sum) & 0x7f800000u) != 0x7f800000u;
  // Infinity with the bit below it set; F8_E4M3 has no infinity.
  constexpr uint32_t nan = T::SPECIAL | (T::SPECIAL & -T::SPECIAL) >> 1;
  uint32_t bits;
  if (finite) {
    bits = T::narrow(sum);
  } else {
    bits = sum != sum ? nan : T::SPECIAL | (__float_as_uint(sum) >> 31) << (8 * T::BYTES - 1);
  }
  counts.touched -= T::BYTES;
  if (bits != old) {
    counts.changed -= 128;
    if ((bits & T::SPECIAL) == T::SPECIAL) {
      atomicAdd(total + (finite ? 2 : 3), 1ull);
    }
  }
  return bits;
}

template <class T>
__device__ void mergeElement(
    const void* source, void* target, int64_t i, float change, Counts& counts, unsigned long long* total) {
  store<T>(target, i, mergeBits<T>(load<T>(source, i), change, counts, total));
}

// The larger magnitude; NaN or infinite once a value is.
__device__ float larger(float magnitude, float value) {
#if __CUDA_ARCH__ >= 800
  float result;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(magnitude), "f"(fabsf(value)));
  return result;
#else
  // Zero while all values are finite, else NaN.
  return __fmaf_rn(value, 0.0f, magnitude);
#endif
}

// A vector of elements in memory of the thread: kept out of registers, which only the fast paths need.
template <class T, int W>
struct Vector {
  uint32_t words[W];
  float change[W * 4 / T::BYTES];
};

// Merges the elements of a vector one by one.
template <class T, int W>
__device__ __noinline__ Counts mergeSlowly(Vector<T, W>* vector, unsigned long long* total) {
  constexpr uint32_t LANE = T::BYTES == 4 ? ALL : (1u << (8 * (T::BYTES & 3))) - 1;
  Counts counts;
#pragma unroll 1
  for (int k = 0; k < W * 4 / T::BYTES; k++) {
    uint32_t* word = vector->words + k * T::BYTES / 4;
    int shift = 8 * T::BYTES * k & 31;
    uint32_t old = *word >> shift & LANE;
    *word ^= (old ^ mergeBits<T>(old, vector->change[k], counts, total)) << shift;
  }
  return counts;
}

// Merges W words, all lanes of a word at once where every number is finite. DENSE: hardly any change is zero.
template <class T, int W, bool DENSE>
__device__ void mergeWords(const uint32_t* old, const float* change, uint32_t* out, Counts& counts, unsigned long long* total) {
  constexpr int LANES = 4 / T::BYTES;
  constexpr uint32_t SIGNS = lanes<T::BYTES>(1u << (8 * T::BYTES - 1));
  float probe = 0;
  float least = T::LARGEST;
#pragma unroll
  for (int w = 0; w < W; w++) {
    float sum[LANES];
    T::unpack(old[w], sum, false);
#pragma unroll
    for (int k = 0; k < LANES; k++) {
      sum[k] = __fadd_rn(sum[k], change[w * LANES + k]);
      probe = larger(probe, sum[k]);
      least = fminf(least, fabsf(change[w * LANES + k]));
    }
    out[w] = T::pack(sum);
  }
#if __CUDA_ARCH__ >= 800
  // A sum with an infinite or NaN weight is infinite or NaN.
  bool plain = probe <= T::LARGEST;
#else
  // Added to a lane whose special bits are all set, this carries into the sign.
  constexpr uint32_t MASK = lanes<T::BYTES>(T::SPECIAL);
  constexpr uint32_t LOWEST = lanes<T::BYTES>(T::SPECIAL & -T::SPECIAL);
  uint32_t special = 0;
#pragma unroll
  for (int w = 0; w < W; w++) {
    special |= ((old[w] & MASK) + LOWEST) | ((out[w] & MASK) + LOWEST);
  }
  bool plain = (special & SIGNS) == 0 && probe <= T::LARGEST;
#endif
  if (DENSE && plain && least > 0) {
#pragma unroll
    for (int w = 0; w < W; w++) {
      uint32_t difference = out[w] ^ old[w];
      uint32_t nonzero = ((difference & ~SIGNS) + ~SIGNS) | difference;
      counts.changed = __dp4a(static_cast<int>(nonzero & SIGNS), 0x01010101, counts.changed);
    }
    counts.touched -= 4 * W;
    return;
  }
  if (plain) {
#pragma unroll
    for (int w = 0; w < W; w++) {
      uint32_t touched = 0;
#pragma unroll
      for (int k = 0; k < LANES; k++) {
        uint32_t lane = (T::BYTES == 4 ? ALL : (1u << (8 * (T::BYTES & 3))) - 1) << (8 * T::BYTES * k & 31);
        touched |= change[w * LANES + k] != 0 ? lane : 0;
      }
      uint32_t difference = (out[w] ^ old[w]) & touched;
      out[w] = old[w] ^ difference;
      uint32_t nonzero = ((difference & ~SIGNS) + ~SIGNS) | difference;
      counts.touched = __dp4a(static_cast<int>(touched), 0x01010101, counts.touched);
      counts.changed = __dp4a(static_cast<int>(nonzero & SIGNS), 0x01010101, counts.changed);
    }
    return;
  }
  Vector<T, W> vector;
#pragma unroll
  for (int w = 0; w < W; w++) {
    vector.words[w] = old[w];
  }
#pragma unroll
  for (int k = 0; k < W * LANES; k++) {
    vector.change[k] = change[k];
  }
  Counts slow = mergeSlowly<T, W>(&vector, total);
  counts.touched += slow.touched;
  counts.changed += slow.changed;
#pragma unroll
  for (int w = 0; w < W; w++) {
    out[w] = vector.words[w];
  }
}

__device__ void addCounts(Counts counts, int bytes, unsigned long long* total) {
  __shared__ int sums[2][THREADS / 32];
  int touched = -counts.touched / bytes;
  int changed = -counts.changed / 128;
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    touched += __shfl_down_sync(ALL, touched, offset);
    changed += __shfl_down_sync(ALL, changed, offset);
  }
  if (threadIdx.x % 32 == 0) {
    sums[0][threadIdx.x / 32] = touched;
    sums[1][threadIdx.x / 32] = changed;
  }
  __syncthreads();
  if (threadIdx.x < 2) {
    unsigned long long sum = 0;
#pragma unroll
    for (int warp = 0; warp < THREADS / 32; warp++) {
      sum += sums[threadIdx.x][warp];
    }
    if (sum != 0) {
      atomicAdd(total + threadIdx.x, sum);
    }
  }
}

// A change for each element, from one or two runs of weights.

template <class S>
struct StoredValues {
  const void* values;
  template <int N>
  __device__ void read(int64_t i, float* out) const {
    uint32_t words[N * S::BYTES / 4];
    loadWords<S, N * S::BYTES / 4>(values, i, words);
    unpackWords<S, N * S::BYTES / 4>(words, out, true);
  }
  __device__ float read(int64_t i) const { return widen<S>(load<S>(values, i)); }
};

template <class S>
struct Differences {
  const void* tuned;
  const void* base;
  template <int N>
  __device__ void read(int64_t i, float* out) const {
    constexpr int W = N * S::BYTES / 4;
    uint32_t words[W];
    uint32_t minus[W];
    loadWords<S, W>(tuned, i, words);
    loadWords<S, W>(base, i, minus);
    float other[N];
    unpackWords<S, W>(words, out, true);
    unpackWords<S, W>(minus, other, true);
#pragma unroll
    for (int k = 0; k < N; k++) {
      out[k] = __fsub_rn(out[k], other[k]);
    }
  }
  __device__ float read(int64_t i) const { return __fsub_rn(widen<S>(load<S>(tuned, i)), widen<S>(load<S>(base, i))); }
};

template <class T, class D>
__device__ void mergeRun(const void* source, void* target, D changes, int64_t count, float factor, unsigned long long* total) {
  constexpr int N = 16 / T::BYTES;
  Counts counts;
  int64_t thread = static_cast<int64_t>(blockIdx.x) * THREADS + threadIdx.x;
  int64_t stride = static_cast<int64_t>(gridDim.x) * THREADS;
  int64_t vectors = count / N;
  for (int64_t v = thread; v < vectors; v += stride) {
    uint32_t old[4];
    float change[N];
    loadWords<T, 4>(source, v * N, old);
    changes.template read<N>(v * N, change);
#pragma unroll
    for (int k = 0; k < N; k++) {
      change[k] = __fmul_rn(change[k], factor);
    }
    uint32_t out[4];
    mergeWords<T, 4, false>(old, change, out, counts, total);
    storeWords<T, 4>(target, v * N, out);
  }
  int64_t rest = vectors * N + thread;
  if (rest < count) {
    mergeElement<T>(source, target, rest, __fmul_rn(changes.read(rest), factor), counts, total);
  }
  addCounts(counts, T::BYTES, total);
}

// Several of them, each times its factor, in their order.
template <class D, int COUNT>
struct Sums {
  D terms[COUNT];
  float factors[COUNT];
  template <int N>
  __device__ void read(int64_t i, float* out) const {
#pragma unroll
    for (int k = 0; k < N; k++) {
      out[k] = 0;
    }
#pragma unroll
    for (int t = 0; t < COUNT; t++) {
      float more[N];
      terms[t].template read<N>(i, more);
#pragma unroll
      for (int k = 0; k < N; k++) {
        out[k] = __fadd_rn(out[k], __fmul_rn(more[k], factors[t]));
      }
    }
  }
  __device__ float read(int64_t i) const {
    float sum = 0;
    for (int t = 0; t < COUNT; t++) {
      sum = __fadd_rn(sum, __fmul_rn(terms[t].read(i), factors[t]));
    }
    return sum;
  }
};

// Low rank. A block merges ROWS × COLUMNS elements, a thread STEPS rows of four columns twice, half a block apart.
constexpr int ROWS = 128;
constexpr int COLUMNS = 128;
constexpr int HALF = COLUMNS / 2;
constexpr int STEPS = 8;
constexpr int DEPTH = 16;
constexpr int ACROSS = HALF / 4;

// The changes of half of one thread's elements, in memory.
struct Patchwork {
  float change[STEPS][4];
};

// Merges those of a thread's elements that lie in the run, one by one. `i` is the first; the next row is `columns` on.
template <class T>
__device__ __noinline__ Counts mergePatchwork(
    const void* source, void* target, const Patchwork* patchwork, int64_t i, int columns, int rows, int width, int64_t count,
    unsigned long long* total) {
  Counts counts;
#pragma unroll 1
  for (int at = 0; at < STEPS * 4; at++) {
    int64_t to = i + static_cast<int64_t>(at / 4) * columns + at % 4;
    if (at / 4 < rows && at % 4 < width && to >= 0 && to < count) {
      mergeElement<T>(source, target, to, patchwork->change[at / 4][at % 4], counts, total);
    }
  }
  return counts;
}

// sum + a · b. FUSED: the product is exact, so that fusing it with the sum gives the same bits.
template <bool FUSED>
__device__ float plusProduct(float sum, float a, float b) {
  return FUSED ? __fmaf_rn(a, b, sum) : __fadd_rn(sum, __fmul_rn(a, b));
}

// Four elements of a row of a matrix from element `i` on, of which `length` are there. The others are zero.
__device__ float4 fourOf(const float* row, int i, int length) {
  return make_float4(
      i < length ? row[i] : 0, i + 1 < length ? row[i + 1] : 0, i + 2 < length ? row[i + 2] : 0, i + 3 < length ? row[i + 3] : 0);
}

// DEPTH ranks of both factors on their way from memory: what one thread brings.
struct Slab {
  float4 rights[2];
  float4 lefts[2];

  // A slab that lies within both factors, of ranks and columns that are multiples of four.
  __device__ void load(const float* left, const float* right, int columns) {
    rights[0] = __ldg(reinterpret_cast<const float4*>(right));
    rights[1] = __ldg(reinterpret_cast<const float4*>(right + static_cast<int64_t>(4 * THREADS / COLUMNS) * columns));
    lefts[0] = __ldg(reinterpret_cast<const float4*>(left));
    lefts[1] = __ldg(reinterpret_cast<const float4*>(left + 4 * (THREADS / ROWS)));
  }

  __device__ void loadAtEdge(
      const float* left, const float* right, int64_t firstRow, int64_t rows, int firstColumn, int columns, int rank, int k0) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      int k = k0 + threadIdx.x / (COLUMNS / 4) + i * (4 * THREADS / COLUMNS);
      int column = firstColumn + threadIdx.x % (COLUMNS / 4) * 4;
      rights[i] = fourOf(right + static_cast<int64_t>(k) * columns, column, k < rank ? columns : 0);
      int64_t row = firstRow + threadIdx.x % ROWS;
      lefts[i] = fourOf(left + row * rank, k0 + (threadIdx.x / ROWS + THREADS / ROWS * i) * 4, row < rows ? rank : 0);
    }
  }

  __device__ void store(float (*right)[COLUMNS], float (*left)[ROWS]) const {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      int k = threadIdx.x / (COLUMNS / 4) + i * (4 * THREADS / COLUMNS);
      *reinterpret_cast<float4*>(&right[k][threadIdx.x % (COLUMNS / 4) * 4]) = rights[i];
      int row = threadIdx.x % ROWS;
      int l = (threadIdx.x / ROWS + THREADS / ROWS * i) * 4;
      left[l][row] = lefts[i].x;
      left[l + 1][row] = lefts[i].y;
      left[l + 2][row] = lefts[i].z;
      left[l + 3][row] = lefts[i].w;
    }
  }
};

// `source` starts at column `column` of the first row. Ranks are filled up with zeros to a multiple of four, which changes no sum.
template <class T, bool FUSED>
__device__ void mergeProduct(
    const void* source, void* target, const float* left, const float* right, int64_t count, int64_t column, int columns, int rank,
    float factor, unsigned long long* total) {
  __shared__ __align__(16) float rights[2][DEPTH][COLUMNS];
  __shared__ __align__(16) float lefts[2][DEPTH][ROWS];
  int columnTiles = (columns + COLUMNS - 1) / COLUMNS;
  int64_t firstRow = static_cast<int64_t>(blockIdx.x / columnTiles) * ROWS;
  int firstColumn = blockIdx.x % columnTiles * COLUMNS;
  int64_t rows = (column + count + columns - 1) / columns;
  int down = threadIdx.x / ACROSS * STEPS;
  int across = threadIdx.x % ACROSS * 4;
  int64_t row = firstRow + down;

  // The weights come into the second-level cache while the product is computed.
  int64_t ahead = (firstRow + threadIdx.x / 2) * columns + firstColumn + threadIdx.x % 2 * HALF - column;
  if (ahead >= 0 && ahead + HALF <= count) {
#pragma unroll
    for (int at = 0; at < HALF * T::BYTES; at += 128) {
      asm volatile("prefetch.global.L2 [%0];" ::"l"(static_cast<const char*>(source) + ahead * T::BYTES + at));
    }
  }

  bool inside = firstRow + ROWS <= rows && firstColumn + COLUMNS <= columns && columns % 4 == 0 && rank % DEPTH == 0;
  const float* nextLeft = left + (firstRow + threadIdx.x % ROWS) * rank + threadIdx.x / ROWS * 4;
  const float* nextRight =
      right + static_cast<int64_t>(threadIdx.x / (COLUMNS / 4)) * columns + firstColumn + threadIdx.x % (COLUMNS / 4) * 4;

  float sum[2][STEPS][4] = {};
  Slab slab;
  int buffer = 0;
  if (inside) {
    slab.load(nextLeft, nextRight, columns);
  } else {
    slab.loadAtEdge(left, right, firstRow, rows, firstColumn, columns, rank, 0);
  }
  slab.store(rights[0], lefts[0]);
#pragma unroll 1
  for (int k0 = 0; k0 < rank; k0 += DEPTH) {
    __syncthreads();
    int depth = min(DEPTH, rank - k0);
    if (k0 + DEPTH < rank) {
      if (inside) {
        nextLeft += DEPTH;
        nextRight += static_cast<int64_t>(DEPTH) * columns;
        slab.load(nextLeft, nextRight, columns);
      } else {
        slab.loadAtEdge(left, right, firstRow, rows, firstColumn, columns, rank, k0 + DEPTH);
      }
    }
#pragma unroll 1
    for (int k4 = 0; k4 < depth; k4 += 4) {
#pragma unroll
      for (int k = k4; k < k4 + 4; k++) {
        const float4* l = reinterpret_cast<const float4*>(&lefts[buffer][k][down]);
        float4 low = l[0];
        float4 high = l[1];
        float4 r[2];
        r[0] = *reinterpret_cast<const float4*>(&rights[buffer][k][across]);
        r[1] = *reinterpret_cast<const float4*>(&rights[buffer][k][across + HALF]);
        float factors[STEPS] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
        for (int h = 0; h < 2; h++) {
#pragma unroll
          for (int j = 0; j < STEPS; j++) {
            sum[h][j][0] = plusProduct<FUSED>(sum[h][j][0], factors[j], r[h].x);
            sum[h][j][1] = plusProduct<FUSED>(sum[h][j][1], factors[j], r[h].y);
            sum[h][j][2] = plusProduct<FUSED>(sum[h][j][2], factors[j], r[h].z);
            sum[h][j][3] = plusProduct<FUSED>(sum[h][j][3], factors[j], r[h].w);
          }
        }
      }
    }
    buffer ^= 1;
    if (k0 + DEPTH < rank) {
      slab.store(rights[buffer], lefts[buffer]);
    }
  }

  Counts counts;
#pragma unroll
  for (int h = 0; h < 2; h++) {
    int at = firstColumn + across + h * HALF;
    int64_t first = row * columns + at - column;
    bool whole = columns % 4 == 0 && column % 4 == 0 && at < columns && first >= 0 && row + STEPS <= rows
        && first + static_cast<int64_t>(STEPS - 1) * columns + 4 <= count;
#pragma unroll
    for (int j = 0; j < STEPS; j++) {
#pragma unroll
      for (int c = 0; c < 4; c++) {
        sum[h][j][c] = __fmul_rn(sum[h][j][c], factor);
      }
    }
    if (whole) {
      uint32_t old[STEPS][T::BYTES];
#pragma unroll
      for (int j = 0; j < STEPS; j++) {
        loadWords<T, T::BYTES>(source, first + static_cast<int64_t>(j) * columns, old[j]);
      }
#pragma unroll
      for (int j = 0; j < STEPS; j++) {
        uint32_t out[T::BYTES];
        mergeWords<T, T::BYTES, true>(old[j], sum[h][j], out, counts, total);
        storeWords<T, T::BYTES>(target, first + static_cast<int64_t>(j) * columns, out);
      }
    } else if (at < columns && row < rows) {
      Patchwork patchwork;
#pragma unroll
      for (int j = 0; j < STEPS; j++) {
#pragma unroll
        for (int c = 0; c < 4; c++) {
          patchwork.change[j][c] = sum[h][j][c];
        }
      }
      int height = static_cast<int>(min(static_cast<int64_t>(STEPS), rows - row));
      Counts some = mergePatchwork<T>(source, target, &patchwork, first, columns, height, min(4, columns - at), count, total);
      counts.touched += some.touched;
      counts.changed += some.changed;
    }
  }
  addCounts(counts, T::BYTES, total);
}

// Low rank, few ranks and whole rows of eight columns or a multiple of them, in number a multiple of four. A thread keeps WIDTH columns of
// the right factor in registers and goes down the rows of its block, whose left factors wait in shared memory. Both factors are filled up
// with zeros to RANKS ranks, which changes no sum.
template <int RANKS>
constexpr int WAITING = RANKS <= 16 ? 64 : 1024 / RANKS;
// Rows of weights that a thread asks for ahead.
constexpr int AHEAD = 8;

// Brings W words of this thread to its place in shared memory while it computes, or at least into the second-level cache.
template <int W>
__device__ void ask(uint32_t* place, const void* from) {
#if __CUDA_ARCH__ >= 800
  uint32_t to = static_cast<uint32_t>(__cvta_generic_to_shared(place));
  if constexpr (W == 4) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(to), "l"(from), "n"(4 * W) : "memory");
  }
#else
  asm volatile("prefetch.global.L2 [%0];" ::"l"(from));
#endif
}

// Ends what was asked for at a time.
__device__ void asked() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until all but the LATEST times have arrived.
template <int LATEST>
__device__ void arrived() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(LATEST) : "memory");
#endif
}

template <class T, bool FUSED, int RANKS, int WIDTH, int AT_ONCE>
__device__ void mergeNarrow(
    const void* source, void* target, const float* left, const float* right, int64_t rows, int columns, float factor,
    unsigned long long* total) {
  constexpr int W = WIDTH * T::BYTES / 4;
  constexpr int FOURS = WAITING<RANKS> * RANKS / 4;
  constexpr int STAGES = AHEAD / AT_ONCE;
  __shared__ float4 lefts[2][FOURS];
#if __CUDA_ARCH__ >= 800
  __shared__ __align__(16) uint32_t ring[STAGES][AT_ONCE][THREADS * W];
#endif
  int groups = (columns + THREADS * WIDTH - 1) / (THREADS * WIDTH);
  int strips = gridDim.x / groups;
  int64_t strip = ((rows + strips - 1) / strips + AT_ONCE - 1) / AT_ONCE * AT_ONCE;
  int64_t row = blockIdx.x / groups * strip;
  int height = static_cast<int>(max(static_cast<int64_t>(0), min(rows - row, strip)));
  int at = (blockIdx.x % groups * THREADS + threadIdx.x) * WIDTH;
  bool active = at < columns;

  float rights[RANKS][WIDTH];
#pragma unroll
  for (int k = 0; k < RANKS; k++) {
#pragma unroll
    for (int c = 0; c < WIDTH; c += 4) {
      float4 four = make_float4(0, 0, 0, 0);
      if (active) {
        four = __ldg(reinterpret_cast<const float4*>(right + static_cast<int64_t>(k) * columns + at + c));
      }
      rights[k][c] = four.x;
      rights[k][c + 1] = four.y;
      rights[k][c + 2] = four.z;
      rights[k][c + 3] = four.w;
    }
  }
  int64_t pitch = static_cast<int64_t>(columns) * T::BYTES;
  int64_t first = row * pitch + static_cast<int64_t>(at) * T::BYTES;
  const char* from = static_cast<const char*>(source) + first;
  char* to = static_cast<char*>(target) + first;
#if __CUDA_ARCH__ >= 800
#define PLACE(stage, j) ring[stage][j] + threadIdx.x * W
#else
#define PLACE(stage, j) nullptr
#endif
#pragma unroll
  for (int stage = 0; stage < STAGES; stage++) {
#pragma unroll
    for (int j = 0; j < AT_ONCE; j++) {
      if (active && stage * AT_ONCE < height) {
        ask<W>(PLACE(stage, j), from + (stage * AT_ONCE + j) * pitch);
      }
    }
    asked();
  }
  const float4* coming = reinterpret_cast<const float4*>(left + row * RANKS) + threadIdx.x;
  int fours = height * (RANKS / 4) - static_cast<int>(threadIdx.x);
  constexpr int EACH = (FOURS + THREADS - 1) / THREADS;
  float4 arriving[EACH];
#pragma unroll
  for (int i = 0; i < EACH; i++) {
    if (i * THREADS + threadIdx.x < FOURS && i * THREADS < fours) {
      lefts[0][i * THREADS + threadIdx.x] = __ldg(coming + i * THREADS);
    }
  }
  Counts counts;
  int buffer = 0;
  int stage = 0;
#pragma unroll 1
  for (int done = 0; done < height; done += WAITING<RANKS>) {
    __syncthreads();
    coming += FOURS;
    fours -= FOURS;
#pragma unroll
    for (int i = 0; i < EACH; i++) {
      if (i * THREADS + threadIdx.x < FOURS && i * THREADS < fours) {
        arriving[i] = __ldg(coming + i * THREADS);
      }
    }
    const float4* l = lefts[buffer];
    int rest = active ? height - done : 0;
    int steps = min(rest, WAITING<RANKS>) / AT_ONCE;
#pragma unroll 1
    for (; steps > 0; steps--) {
      rest -= AT_ONCE;
      uint32_t old[AT_ONCE][W];
      arrived<STAGES - 1>();
#pragma unroll
      for (int j = 0; j < AT_ONCE; j++) {
#if __CUDA_ARCH__ >= 800
        const uint32_t* place = PLACE(stage, j);
        if constexpr (W == 4) {
          uint4 words = *reinterpret_cast<const uint4*>(place);
          old[j][0] = words.x;
          old[j][1] = words.y;
          old[j][2] = words.z;
          old[j][3] = words.w;
        } else if constexpr (W == 2) {
          uint2 words = *reinterpret_cast<const uint2*>(place);
          old[j][0] = words.x;
          old[j][1] = words.y;
        } else {
          old[j][0] = *place;
        }
#else
        loadWords<T, W>(from + j * pitch, 0, old[j]);
#endif
      }
      float sum[AT_ONCE][WIDTH] = {};
#pragma unroll
      for (int k = 0; k < RANKS; k += 4) {
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++) {
          float4 four = l[(j * RANKS + k) / 4];
          float factors[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
          for (int i = 0; i < 4; i++) {
#pragma unroll
            for (int c = 0; c < WIDTH; c++) {
              sum[j][c] = plusProduct<FUSED>(sum[j][c], factors[i], rights[k + i][c]);
            }
          }
        }
      }
      l += AT_ONCE * RANKS / 4;
#pragma unroll
      for (int j = 0; j < AT_ONCE; j++) {
#pragma unroll
        for (int c = 0; c < WIDTH; c++) {
          sum[j][c] = __fmul_rn(sum[j][c], factor);
        }
        uint32_t out[W];
        mergeWords<T, W, true>(old[j], sum[j], out, counts, total);
        storeWords<T, W>(to + j * pitch, 0, out);
      }
      to += AT_ONCE * pitch;
      // By now this thread has read what was in the place.
#pragma unroll
      for (int j = 0; j < AT_ONCE; j++) {
        if (rest > AHEAD - AT_ONCE) {
          ask<W>(PLACE(stage, j), from + (AHEAD + j) * pitch);
        }
      }
      asked();
      from += AT_ONCE * pitch;
      stage = stage + 1 == STAGES ? 0 : stage + 1;
    }
    buffer ^= 1;
#pragma unroll
    for (int i = 0; i < EACH; i++) {
      if (i * THREADS + threadIdx.x < FOURS && i * THREADS < fours) {
        lefts[buffer][i * THREADS + threadIdx.x] = arriving[i];
      }
    }
  }
  addCounts(counts, T::BYTES, total);
}

// Any operands.

enum Kind { VALUES, DIFFERENCE, PRODUCT };
enum Type { TYPE_F64, TYPE_F32, TYPE_F16, TYPE_BF16, TYPE_F8_E4M3, TYPE_F8_E5M2 };

// Laid out as io.portllm.internal.cuda.TilesLaunch writes it. `a` and `b` are bytes from the start of the area that holds all data; for a
// product they lead to the left and right factors.
struct Operand {
  int64_t start;
  int64_t elements;
  int64_t a;
  int64_t b;
  int64_t column;
  int kind;
  int typeA;
  int typeB;
  float factor;
  int columns;
  int rank;
};

__device__ float valueOf(int type, const void* elements, int64_t i) {
  switch (type) {
    case TYPE_F64: return __double2float_rn(static_cast<const double*>(elements)[i]);
    case TYPE_F32: return widen<F32>(load<F32>(elements, i));
    case TYPE_F16: return widen<F16>(load<F16>(elements, i));
    case TYPE_BF16: return widen<BF16>(load<BF16>(elements, i));
    case TYPE_F8_E4M3: return widen<F8_E4M3>(load<F8_E4M3>(elements, i));
    default: return widen<F8_E5M2>(load<F8_E5M2>(elements, i));
  }
}

__device__ double wideValueOf(int type, const void* elements, int64_t i) {
  return type == TYPE_F64 ? static_cast<const double*>(elements)[i] : static_cast<double>(valueOf(type, elements, i));
}

__device__ float changeOf(const Operand& operand, const char* area, int64_t i) {
  const char* a = area + operand.a;
  const char* b = area + operand.b;
  if (operand.kind == VALUES) {
    return valueOf(operand.typeA, a, i);
  }
  if (operand.kind == DIFFERENCE) {
    if (operand.typeA == TYPE_F64 || operand.typeB == TYPE_F64) {
      return __double2float_rn(__dsub_rn(wideValueOf(operand.typeA, a, i), wideValueOf(operand.typeB, b, i)));
    }
    return __fsub_rn(valueOf(operand.typeA, a, i), valueOf(operand.typeB, b, i));
  }
  int64_t at = operand.column + i;
  const float* left = reinterpret_cast<const float*>(a) + at / operand.columns * operand.rank;
  const float* right = reinterpret_cast<const float*>(b) + at % operand.columns;
  float sum = 0;
  for (int k = 0; k < operand.rank; k++) {
    sum = __fadd_rn(sum, __fmul_rn(left[k], right[static_cast<int64_t>(k) * operand.columns]));
  }
  return sum;
}

// N changes from element `i` on, of a type known when the kernel runs. `elements` are aligned to 16 bytes, and `i` is a multiple of N.
template <int N>
__device__ void valuesOf(int type, const void* elements, int64_t i, float* out) {
  switch (type) {
    case TYPE_F32: StoredValues<F32>{elements}.template read<N>(i, out); break;
    case TYPE_F16: StoredValues<F16>{elements}.template read<N>(i, out); break;
    case TYPE_BF16: StoredValues<BF16>{elements}.template read<N>(i, out); break;
    case TYPE_F8_E4M3: StoredValues<F8_E4M3>{elements}.template read<N>(i, out); break;
    default: StoredValues<F8_E5M2>{elements}.template read<N>(i, out); break;
  }
}

template <int N>
struct Few {
  float changes[N];
};

// One by one, in memory of the thread.
template <int N>
__device__ __noinline__ void fewChangesOf(const Operand& operand, const char* area, int64_t i, Few<N>* few) {
#pragma unroll 1
  for (int k = 0; k < N; k++) {
    few->changes[k] = changeOf(operand, area, i + k);
  }
}

// N changes of one operand of the whole run from element `i` on, a multiple of N.
template <int N>
__device__ void changesOf(const Operand& operand, const char* area, int64_t i, float* out) {
  const char* a = area + operand.a;
  const char* b = area + operand.b;
  if (operand.kind == VALUES && operand.typeA != TYPE_F64) {
    valuesOf<N>(operand.typeA, a, i, out);
  } else if (operand.kind == DIFFERENCE && operand.typeA != TYPE_F64 && operand.typeB != TYPE_F64) {
    float other[N];
    valuesOf<N>(operand.typeA, a, i, out);
    valuesOf<N>(operand.typeB, b, i, other);
#pragma unroll
    for (int k = 0; k < N; k++) {
      out[k] = __fsub_rn(out[k], other[k]);
    }
  } else if (operand.kind == PRODUCT && operand.columns % N == 0 && operand.column % N == 0) {
    int64_t at = operand.column + i;
    const float* left = reinterpret_cast<const float*>(a) + at / operand.columns * operand.rank;
    const float* right = reinterpret_cast<const float*>(b) + at % operand.columns;
#pragma unroll
    for (int k = 0; k < N; k++) {
      out[k] = 0;
    }
#pragma unroll 2
    for (int k = 0; k < operand.rank; k++) {
      float l = __ldg(left + k);
#pragma unroll
      for (int c = 0; c < N; c += 4) {
        float4 r = __ldg(reinterpret_cast<const float4*>(right + static_cast<int64_t>(k) * operand.columns + c));
        out[c] = plusProduct<false>(out[c], l, r.x);
        out[c + 1] = plusProduct<false>(out[c + 1], l, r.y);
        out[c + 2] = plusProduct<false>(out[c + 2], l, r.z);
        out[c + 3] = plusProduct<false>(out[c + 3], l, r.w);
      }
    }
  } else {
    Few<N> few;
    fewChangesOf<N>(operand, area, i, &few);
#pragma unroll
    for (int k = 0; k < N; k++) {
      out[k] = few.changes[k];
    }
  }
}

// Any operands that cover the same run, in one pass.
template <class T>
__device__ void mergeSum(
    const void* source, void* target, int64_t count, const char* area, const Operand* operands, int operandCount,
    unsigned long long* total) {
  constexpr int N = T::BYTES == 4 ? 4 : 8;
  constexpr int W = N * T::BYTES / 4;
  Counts counts;
  int64_t thread = static_cast<int64_t>(blockIdx.x) * THREADS + threadIdx.x;
  int64_t stride = static_cast<int64_t>(gridDim.x) * THREADS;
  for (int64_t v = thread; v < count / N; v += stride) {
    uint32_t old[W];
    loadWords<T, W>(source, v * N, old);
    float change[N] = {};
    for (int o = 0; o < operandCount; o++) {
      float more[N];
      changesOf<N>(operands[o], area, v * N, more);
      float factor = operands[o].factor;
#pragma unroll
      for (int k = 0; k < N; k++) {
        change[k] = __fadd_rn(change[k], __fmul_rn(more[k], factor));
      }
    }
    uint32_t out[W];
    mergeWords<T, W, false>(old, change, out, counts, total);
    storeWords<T, W>(target, v * N, out);
  }
  int64_t rest = count / N * N + thread;
  if (rest < count) {
    float change = 0;
    for (int o = 0; o < operandCount; o++) {
      change = __fadd_rn(change, __fmul_rn(changeOf(operands[o], area, rest), operands[o].factor));
    }
    mergeElement<T>(source, target, rest, change, counts, total);
  }
  addCounts(counts, T::BYTES, total);
}

constexpr int TILE = 1024;

// Block b merges tile tiles[b]. The operands in it are those whose numbers stand in `places` from offsets[b] to offsets[b + 1].
template <class T>
__device__ void mergeTiles(
    const void* source, void* target, int64_t count, const char* area, const Operand* operands, const int64_t* tiles,
    const int* offsets, const int* places, unsigned long long* total) {
  Counts counts;
  int64_t end = min(count, (tiles[blockIdx.x] + 1) * TILE);
  for (int64_t i = tiles[blockIdx.x] * TILE + threadIdx.x; i < end; i += THREADS) {
    float change = 0;
    bool changed = false;
    for (int at = offsets[blockIdx.x]; at < offsets[blockIdx.x + 1]; at++) {
      const Operand& operand = operands[places[at]];
      int64_t within = i - operand.start;
      if (within >= 0 && within < operand.elements) {
        change = __fadd_rn(change, __fmul_rn(changeOf(operand, area, within), operand.factor));
        changed = true;
      }
    }
    if (changed) {
      mergeElement<T>(source, target, i, change, counts, total);
    }
  }
  addCounts(counts, T::BYTES, total);
}

// Changes of single elements, at rising positions.
template <class T>
__device__ void mergeSparse(
    const void* source, void* target, const int64_t* positions, const float* values, int64_t count, float factor,
    unsigned long long* total) {
  Counts counts;
  int64_t stride = static_cast<int64_t>(gridDim.x) * THREADS;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * THREADS + threadIdx.x; i < count; i += stride) {
    mergeElement<T>(source, target, positions[i], __fmul_rn(values[i], factor), counts, total);
  }
  addCounts(counts, T::BYTES, total);
}

}  // namespace

#define VALUES_OF(S)                                                                                                     \
  extern "C" __global__ void __launch_bounds__(THREADS) values_##S(                                                      \
      const void* source, void* target, const void* values, int64_t count, float factor, unsigned long long* counts) {   \
    mergeRun<WEIGHTS>(source, target, StoredValues<S>{values}, count, factor, counts);                                   \
  }

VALUES_OF(F32)
VALUES_OF(F16)
VALUES_OF(BF16)
VALUES_OF(F8_E4M3)
VALUES_OF(F8_E5M2)

extern "C" __global__ void __launch_bounds__(THREADS) values2(
    const void* source, void* target, int64_t count, const void* first, const void* second, float firstFactor, float secondFactor,
    unsigned long long* counts) {
  Sums<StoredValues<WEIGHTS>, 2> sums = {{{first}, {second}}, {firstFactor, secondFactor}};
  mergeRun<WEIGHTS>(source, target, sums, count, 1, counts);
}

extern "C" __global__ void __launch_bounds__(THREADS) values3(
    const void* source, void* target, int64_t count, const void* first, const void* second, const void* third, float firstFactor,
    float secondFactor, float thirdFactor, unsigned long long* counts) {
  Sums<StoredValues<WEIGHTS>, 3> sums = {{{first}, {second}, {third}}, {firstFactor, secondFactor, thirdFactor}};
  mergeRun<WEIGHTS>(source, target, sums, count, 1, counts);
}

extern "C" __global__ void __launch_bounds__(THREADS) differences2(
    const void* source, void* target, int64_t count, const void* tuned1, const void* base1, const void* tuned2, const void* base2,
    float firstFactor, float secondFactor, unsigned long long* counts) {
  Sums<Differences<WEIGHTS>, 2> sums = {{{tuned1, base1}, {tuned2, base2}}, {firstFactor, secondFactor}};
  mergeRun<WEIGHTS>(source, target, sums, count, 1, counts);
}

extern "C" __global__ void __launch_bounds__(THREADS) differences3(
    const void* source, void* target, int64_t count, const void* tuned1, const void* base1, const void* tuned2, const void* base2,
    const void* tuned3, const void* base3, float firstFactor, float secondFactor, float thirdFactor, unsigned long long* counts) {
  Sums<Differences<WEIGHTS>, 3> sums = {
      {{tuned1, base1}, {tuned2, base2}, {tuned3, base3}}, {firstFactor, secondFactor, thirdFactor}};
  mergeRun<WEIGHTS>(source, target, sums, count, 1, counts);
}

extern "C" __global__ void __launch_bounds__(THREADS) difference(
    const void* source, void* target, const void* tuned, const void* base, int64_t count, float factor, unsigned long long* counts) {
  mergeRun<WEIGHTS>(source, target, Differences<WEIGHTS>{tuned, base}, count, factor, counts);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2) product(
    const void* source, void* target, const float* left, const float* right, int64_t count, int64_t column, int columns, int rank,
    float factor, unsigned long long* counts) {
  mergeProduct<WEIGHTS, false>(source, target, left, right, count, column, columns, rank, factor, counts);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2) exactProduct(
    const void* source, void* target, const float* left, const float* right, int64_t count, int64_t column, int columns, int rank,
    float factor, unsigned long long* counts) {
  mergeProduct<WEIGHTS, true>(source, target, left, right, count, column, columns, rank, factor, counts);
}

// Columns of a thread, and rows that it merges at a time.
constexpr int FEW = WEIGHTS::BYTES == 1 ? 8 : 4;
constexpr int MANY = WEIGHTS::BYTES == 4 ? 4 : 8;
constexpr int BOTH = WEIGHTS::BYTES == 2 ? 4 : 2;

#define NARROW(NAME, FUSED, RANKS, WIDTH, AT_ONCE)                                                                       \
  extern "C" __global__ void __launch_bounds__(THREADS, RANKS * WIDTH > 64 ? 1 : 2) NAME(                                \
      const void* source, void* target, const float* left, const float* right, int64_t rows, int columns, float factor,  \
      unsigned long long* counts) {                                                                                      \
    mergeNarrow<WEIGHTS, FUSED, RANKS, WIDTH, AT_ONCE>(source, target, left, right, rows, columns, factor, counts);      \
  }

NARROW(narrow4, false, 4, FEW, BOTH)
NARROW(narrow8, false, 8, FEW, BOTH)
NARROW(narrow16, false, 16, MANY, 2)
NARROW(narrow32, false, 32, 4, 4)
NARROW(exactNarrow4, true, 4, FEW, BOTH)
NARROW(exactNarrow8, true, 8, FEW, BOTH)
NARROW(exactNarrow16, true, 16, FEW, 2)
NARROW(exactNarrow32, true, 32, 4, 4)

extern "C" __global__ void __launch_bounds__(THREADS) sum(
    const void* source, void* target, int64_t count, const char* area, const Operand* operands, int operandCount,
    unsigned long long* counts) {
  mergeSum<WEIGHTS>(source, target, count, area, operands, operandCount, counts);
}

extern "C" __global__ void __launch_bounds__(THREADS) tiles(
    const void* source, void* target, int64_t count, const char* area, const Operand* operands, const int64_t* numbers, const int* offsets,
    const int* places, unsigned long long* counts) {
  mergeTiles<WEIGHTS>(source, target, count, area, operands, numbers, offsets, places, counts);
}

extern "C" __global__ void __launch_bounds__(THREADS) sparse(
    const void* source, void* target, const int64_t* positions, const float* values, int64_t count, float factor,
    unsigned long long* counts) {
  mergeSparse<WEIGHTS>(source, target, positions, values, count, factor, counts);
}

// target ^= mask, 16 bytes at a time and then the rest. Its own inverse.
extern "C" __global__ void __launch_bounds__(THREADS) flip(void* target, const void* mask, int64_t bytes) {
  int64_t thread = static_cast<int64_t>(blockIdx.x) * THREADS + threadIdx.x;
  int64_t stride = static_cast<int64_t>(gridDim.x) * THREADS;
  uint4* words = static_cast<uint4*>(target);
  const uint4* masks = static_cast<const uint4*>(mask);
  for (int64_t i = thread; i < bytes / 16; i += stride) {
    uint4 word = __ldcs(words + i);
    uint4 flips = __ldcs(masks + i);
    __stcs(words + i, make_uint4(word.x ^ flips.x, word.y ^ flips.y, word.z ^ flips.z, word.w ^ flips.w));
  }
  int64_t rest = bytes / 16 * 16 + thread;
  if (rest < bytes) {
    static_cast<uint8_t*>(target)[rest] ^= static_cast<const uint8_t*>(mask)[rest];
  }
}
