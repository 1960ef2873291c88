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

// Types. LARGEST: the largest number that pack() rounds. SPECIAL: the bits that are all set in an infinite or NaN element alone. unpack()
// widens the lanes of a word; narrow() rounds a finite number; pack() rounds a word of them. `exactNan` asks for NaN where an element is
// NaN, which only F8_E4M3 has to look for.

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
  static constexpr float LARGEST = 0x1.fffffep127f;
  static __device__ void unpack(uint32_t word, float* out, bool) {
    out[0] = __uint_as_float(word << 16);
    out[1] = __uint_as_float(word & 0xffff0000u);
  }
  static __device__ uint32_t rounded(float value) {
    uint32_t bits = __float_as_uint(value);
    return bits + 0x7fff + ((bits >> 16) & 1);
  }
  static __device__ uint32_t narrow(float value) { return rounded(value) >> 16; }
  static __device__ uint32_t pack(const float* values) { return __byte_perm(rounded(values[0]), rounded(values[1]), 0x7632); }
};

struct F16 {
  static constexpr int BYTES = 2;
  static constexpr uint32_t SPECIAL = 0x7c00u;
  static constexpr float LARGEST = 0x1.fffffep127f;
  static __device__ void unpack(uint32_t word, float* out, bool) {
    float2 pair = __half22float2(*reinterpret_cast<__half2*>(&word));
    out[0] = pair.x;
    out[1] = pair.y;
  }
  static __device__ uint32_t narrow(float value) { return __half_as_ushort(__float2half_rn(value)); }
  static __device__ uint32_t pack(const float* values) { return narrow(values[0]) | narrow(values[1]) << 16; }
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
  if constexpr (W == 4) {
    __stcs(reinterpret_cast<uint4*>(at), make_uint4(words[0], words[1], words[2], words[3]));
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
#if __CUDA_ARCH__ >= 890
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

// Merges W words, all lanes of a word at once where every number is finite.
template <class T, int W>
__device__ void mergeWords(const uint32_t* old, const float* change, uint32_t* out, Counts& counts, unsigned long long* total) {
  constexpr int LANES = 4 / T::BYTES;
  constexpr uint32_t SIGNS = lanes<T::BYTES>(1u << (8 * T::BYTES - 1));
  constexpr uint32_t MASK = lanes<T::BYTES>(T::SPECIAL);
  // Added to a lane whose special bits are all set, this carries into the sign.
  constexpr uint32_t LOWEST = lanes<T::BYTES>(T::SPECIAL & -T::SPECIAL);
  uint32_t special = 0;
  float probe = 0;
#pragma unroll
  for (int w = 0; w < W; w++) {
    float sum[LANES];
    T::unpack(old[w], sum, false);
#pragma unroll
    for (int k = 0; k < LANES; k++) {
      sum[k] = __fadd_rn(sum[k], change[w * LANES + k]);
      probe = larger(probe, sum[k]);
    }
    out[w] = T::pack(sum);
    special |= ((old[w] & MASK) + LOWEST) | ((out[w] & MASK) + LOWEST);
  }
  if ((special & SIGNS) == 0 && probe <= T::LARGEST) {
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
    mergeWords<T, 4>(old, change, out, counts, total);
    storeWords<T, 4>(target, v * N, out);
  }
  int64_t rest = vectors * N + thread;
  if (rest < count) {
    mergeElement<T>(source, target, rest, __fmul_rn(changes.read(rest), factor), counts, total);
  }
  addCounts(counts, T::BYTES, total);
}

// Low rank. A block merges ROWS × COLUMNS elements, a thread STEPS rows of four columns.
constexpr int ROWS = 32;
constexpr int COLUMNS = 256;
constexpr int STEPS = 8;
constexpr int DEPTH = 16;

// The changes of one thread's elements, in memory.
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

// `source` starts at column `column` of the first row. FUSED: every product is exact, so that fusing it with the sum gives the same bits.
template <class T, bool FUSED>
__device__ void mergeProduct(
    const void* source, void* target, const float* left, const float* right, int64_t count, int64_t column, int columns, int rank,
    float factor, unsigned long long* total) {
  __shared__ __align__(16) float rights[DEPTH][COLUMNS];
  // Four more than rows, so that a column is not written to one bank.
  __shared__ __align__(16) float lefts[DEPTH][ROWS + 4];
  int columnTiles = (columns + COLUMNS - 1) / COLUMNS;
  int64_t firstRow = static_cast<int64_t>(blockIdx.x / columnTiles) * ROWS;
  int firstColumn = blockIdx.x % columnTiles * COLUMNS;
  int64_t rows = (column + count + columns - 1) / columns;
  int64_t row = firstRow + threadIdx.x / (COLUMNS / 4) * STEPS;
  int at = firstColumn + threadIdx.x % (COLUMNS / 4) * 4;
  int64_t first = row * columns + at - column;
  bool whole = columns % 4 == 0 && column % 4 == 0 && at < columns && first >= 0 && row + STEPS <= rows
      && first + static_cast<int64_t>(STEPS - 1) * columns + 4 <= count;

  uint32_t old[STEPS][T::BYTES];
  if (whole) {
#pragma unroll
    for (int j = 0; j < STEPS; j++) {
      loadWords<T, T::BYTES>(source, first + static_cast<int64_t>(j) * columns, old[j]);
    }
  }

  float sum[STEPS][4];
#pragma unroll
  for (int j = 0; j < STEPS; j++) {
    sum[j][0] = sum[j][1] = sum[j][2] = sum[j][3] = 0;
  }
  for (int k0 = 0; k0 < rank; k0 += DEPTH) {
    int depth = min(DEPTH, rank - k0);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < DEPTH * COLUMNS / 4 / THREADS; i++) {
      int k = i * (4 * THREADS / COLUMNS) + threadIdx.x / (COLUMNS / 4);
      int c = threadIdx.x % (COLUMNS / 4) * 4;
      const float* from = right + static_cast<int64_t>(k0 + k) * columns + firstColumn + c;
      float4 four = make_float4(0, 0, 0, 0);
      if (k < depth && columns % 4 == 0 && firstColumn + c < columns) {
        four = __ldg(reinterpret_cast<const float4*>(from));
      } else if (k < depth) {
        four.x = firstColumn + c < columns ? from[0] : 0;
        four.y = firstColumn + c + 1 < columns ? from[1] : 0;
        four.z = firstColumn + c + 2 < columns ? from[2] : 0;
        four.w = firstColumn + c + 3 < columns ? from[3] : 0;
      }
      *reinterpret_cast<float4*>(&rights[k][c]) = four;
    }
    for (int i = threadIdx.x; i < DEPTH * ROWS; i += THREADS) {
      int k = i % DEPTH;
      int64_t r = firstRow + i / DEPTH;
      lefts[k][i / DEPTH] = r < rows && k < depth ? left[r * rank + k0 + k] : 0;
    }
    __syncthreads();
#pragma unroll 2
    for (int k = 0; k < depth; k++) {
      float4 r = *reinterpret_cast<const float4*>(&rights[k][threadIdx.x % (COLUMNS / 4) * 4]);
      const float4* l = reinterpret_cast<const float4*>(&lefts[k][threadIdx.x / (COLUMNS / 4) * STEPS]);
      float4 low = l[0];
      float4 high = l[1];
      float factors[STEPS] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
      for (int j = 0; j < STEPS; j++) {
        if (FUSED) {
          sum[j][0] = __fmaf_rn(factors[j], r.x, sum[j][0]);
          sum[j][1] = __fmaf_rn(factors[j], r.y, sum[j][1]);
          sum[j][2] = __fmaf_rn(factors[j], r.z, sum[j][2]);
          sum[j][3] = __fmaf_rn(factors[j], r.w, sum[j][3]);
        } else {
          sum[j][0] = __fadd_rn(sum[j][0], __fmul_rn(factors[j], r.x));
          sum[j][1] = __fadd_rn(sum[j][1], __fmul_rn(factors[j], r.y));
          sum[j][2] = __fadd_rn(sum[j][2], __fmul_rn(factors[j], r.z));
          sum[j][3] = __fadd_rn(sum[j][3], __fmul_rn(factors[j], r.w));
        }
      }
    }
  }

  Counts counts;
#pragma unroll
  for (int j = 0; j < STEPS; j++) {
#pragma unroll
    for (int c = 0; c < 4; c++) {
      sum[j][c] = __fmul_rn(sum[j][c], factor);
    }
  }
  if (whole) {
#pragma unroll
    for (int j = 0; j < STEPS; j++) {
      uint32_t out[T::BYTES];
      mergeWords<T, T::BYTES>(old[j], sum[j], out, counts, total);
      storeWords<T, T::BYTES>(target, first + static_cast<int64_t>(j) * columns, out);
    }
  } else if (at < columns && row < rows) {
    Patchwork patchwork;
#pragma unroll
    for (int j = 0; j < STEPS; j++) {
#pragma unroll
      for (int c = 0; c < 4; c++) {
        patchwork.change[j][c] = sum[j][c];
      }
    }
    int height = static_cast<int>(min(static_cast<int64_t>(STEPS), rows - row));
    counts = mergePatchwork<T>(source, target, &patchwork, first, columns, height, min(4, columns - at), count, total);
  }
  addCounts(counts, T::BYTES, total);
}

// Low rank, few ranks and whole rows, four or a multiple of them: a warp keeps 128 columns of the right factor in registers, a thread four
// of them, and goes down some rows. Both factors are filled up with zeros to RANKS ranks, which changes no sum.
template <class T, bool FUSED, int RANKS>
__device__ void mergeNarrow(
    const void* source, void* target, const float* left, const float* right, int64_t rows, int columns, float factor,
    unsigned long long* total) {
  constexpr int AT_ONCE = T::BYTES == 4 || RANKS == 16 ? 2 : 4;
  Counts counts;
  int groups = (columns + 127) / 128;
  int warp = blockIdx.x * (THREADS / 32) + threadIdx.x / 32;
  int strips = gridDim.x * (THREADS / 32) / groups;
  int64_t strip = ((rows + strips - 1) / strips + AT_ONCE - 1) / AT_ONCE * AT_ONCE;
  int64_t row = warp / groups * strip;
  int steps = static_cast<int>((min(rows, row + strip) - row) / AT_ONCE);
  int at = warp % groups * 128 + threadIdx.x % 32 * 4;
  if (at < columns && steps > 0) {
    float4 rights[RANKS];
#pragma unroll
    for (int k = 0; k < RANKS; k++) {
      rights[k] = __ldg(reinterpret_cast<const float4*>(right + static_cast<int64_t>(k) * columns + at));
    }
    int64_t pitch = static_cast<int64_t>(columns) * T::BYTES;
    const char* from = static_cast<const char*>(source) + row * pitch + at * T::BYTES;
    char* to = static_cast<char*>(target) + row * pitch + at * T::BYTES;
    const float4* lefts = reinterpret_cast<const float4*>(left + row * RANKS);
    uint32_t next[AT_ONCE][T::BYTES];
#pragma unroll
    for (int j = 0; j < AT_ONCE; j++) {
      loadWords<T, T::BYTES>(from, 0, next[j]);
      from += pitch;
    }
#pragma unroll 1
    for (; steps > 0; steps--) {
      uint32_t old[AT_ONCE][T::BYTES];
#pragma unroll
      for (int j = 0; j < AT_ONCE; j++) {
#pragma unroll
        for (int w = 0; w < T::BYTES; w++) {
          old[j][w] = next[j][w];
        }
        // The rows after these arrive while these are merged.
        if (steps > 1) {
          loadWords<T, T::BYTES>(from, 0, next[j]);
          from += pitch;
        }
      }
      float sum[AT_ONCE][4] = {};
#pragma unroll
      for (int k = 0; k < RANKS; k += 4) {
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++) {
          float4 four = __ldg(lefts + (j * RANKS + k) / 4);
          float factors[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
          for (int i = 0; i < 4; i++) {
            float4 r = rights[k + i];
            if (FUSED) {
              sum[j][0] = __fmaf_rn(factors[i], r.x, sum[j][0]);
              sum[j][1] = __fmaf_rn(factors[i], r.y, sum[j][1]);
              sum[j][2] = __fmaf_rn(factors[i], r.z, sum[j][2]);
              sum[j][3] = __fmaf_rn(factors[i], r.w, sum[j][3]);
            } else {
              sum[j][0] = __fadd_rn(sum[j][0], __fmul_rn(factors[i], r.x));
              sum[j][1] = __fadd_rn(sum[j][1], __fmul_rn(factors[i], r.y));
              sum[j][2] = __fadd_rn(sum[j][2], __fmul_rn(factors[i], r.z));
              sum[j][3] = __fadd_rn(sum[j][3], __fmul_rn(factors[i], r.w));
            }
          }
        }
      }
      lefts += AT_ONCE * RANKS / 4;
#pragma unroll
      for (int j = 0; j < AT_ONCE; j++) {
#pragma unroll
        for (int c = 0; c < 4; c++) {
          sum[j][c] = __fmul_rn(sum[j][c], factor);
        }
        uint32_t out[T::BYTES];
        mergeWords<T, T::BYTES>(old[j], sum[j], out, counts, total);
        storeWords<T, T::BYTES>(to, 0, out);
        to += pitch;
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

#define NARROW(NAME, FUSED, RANKS)                                                                                       \
  extern "C" __global__ void __launch_bounds__(THREADS, 2) NAME(                                                         \
      const void* source, void* target, const float* left, const float* right, int64_t rows, int columns, float factor,  \
      unsigned long long* counts) {                                                                                      \
    mergeNarrow<WEIGHTS, FUSED, RANKS>(source, target, left, right, rows, columns, factor, counts);                      \
  }

NARROW(narrow8, false, 8)
NARROW(narrow16, false, 16)
NARROW(exactNarrow8, true, 8)
NARROW(exactNarrow16, true, 16)

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
