// Vectors of float32 through the compiler's vector extensions: one source for every instruction set.
#ifndef VECTOR_H
#define VECTOR_H

typedef float v8 __attribute__((vector_size(32)));
typedef int32_t i32x8 __attribute__((vector_size(32)));
typedef float v8u __attribute__((vector_size(32), aligned(4)));
typedef uint8_t u8x8 __attribute__((vector_size(8), aligned(1)));
typedef int8_t s8x8 __attribute__((vector_size(8), aligned(1)));
typedef uint16_t u16x8 __attribute__((vector_size(16), aligned(2)));
typedef _Float16 fp16x8 __attribute__((vector_size(16), aligned(2)));

#define INLINE static inline __attribute__((always_inline))

INLINE v8 load8(const float *p) { return *(const v8u *)p; }
INLINE void store8(float *p, v8 x) { *(v8u *)p = x; }
INLINE v8 splat8(float x) { return (v8){x, x, x, x, x, x, x, x}; }
INLINE v8 select8(i32x8 mask, v8 yes, v8 no) { return (v8)((mask & (i32x8)yes) | (~mask & (i32x8)no)); }
INLINE v8 max8(v8 a, v8 b) { return select8(a > b, a, b); }
INLINE v8 min8(v8 a, v8 b) { return select8(a < b, a, b); }
// sqrtf could set errno, so the compiler would leave a loop around it scalar.
INLINE v8 sqrt8(v8 x) { return __builtin_elementwise_sqrt(x); }

// The target's full register width, for GEMM tiles.
typedef float lanes __attribute__((vector_size(4 * LANES)));
typedef float lanes_unaligned __attribute__((vector_size(4 * LANES), aligned(4)));
INLINE lanes load(const float *p) { return *(const lanes_unaligned *)p; }
INLINE void store(float *p, lanes x) { *(lanes_unaligned *)p = x; }
INLINE lanes splat(float x) { return x - (lanes){}; }

INLINE float sum_lanes8(v8 x) { return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7])); }

INLINE float max_lane(v8 x) {
  float m = x[0];
  for (int i = 1; i < 8; i++) m = x[i] > m ? x[i] : m;
  return m;
}

// e^x to about 2 ulp: x = n ln 2 + r with |r| <= ln 2 / 2, a polynomial in r, scaled by 2^n. Flushes to 0 below -87.3
// (no subnormals); infinite above 88.7.
INLINE v8 exp8(v8 x) {
  // NaN fails both comparisons and passes through.
  v8 clamped = max8(splat8(-87.33654f), min8(splat8(88.72283f), x));
  v8 shifted = clamped * 1.44269504f + 12582912.0f;  // rounds to an integer in the low mantissa bits
  v8 whole = shifted - 12582912.0f;
  v8 r = clamped - whole * 0.693359375f;
  r = r - whole * -2.12194440e-4f;
  v8 p = splat8(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  v8 y = p * (r * r) + r + 1.0f;
#ifdef CK_AVX512
  y = (v8)_mm256_scalef_ps((__m256)y, (__m256)whole);
#else
  // 2^n as two factors: n = 128 alone overflows the exponent.
  i32x8 n = (i32x8)shifted - 0x4B400000, half = n >> 1;
  y = y * (v8)((half + 127) << 23) * (v8)((n - half + 127) << 23);
#endif
  return select8(x < splat8(-87.33654f), splat8(0), y);
}

// The natural logarithm of positive numbers to about 2 ulp: x = 2^n m with m from sqrt(1/2) to sqrt(2), a polynomial in
// m - 1. Numbers below the smallest normal one count as it.
INLINE v8 log8(v8 x) {
  i32x8 bits = (i32x8)max8(x, splat8(1.17549435e-38f));
  i32x8 n = (bits - 0x3F3504F3) >> 23;
  v8 m = (v8)(bits - (n << 23)) - 1.0f, whole = __builtin_convertvector(n, v8);
  v8 p = splat8(7.0376836292e-2f);
  p = p * m - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  v8 square = m * m;
  v8 y = p * m * square - whole * 2.12194440e-4f - 0.5f * square;
  return m + y + whole * 0.693359375f;
}

INLINE v8 sigmoid8(v8 x) { return 1.0f / (1.0f + exp8(-x)); }
INLINE v8 tanh8(v8 x) { return 1.0f - 2.0f / (1.0f + exp8(2.0f * x)); }

// Per-thread scratch buffers. They grow and are never freed: pool threads live as long as the process.
enum { scratch_slots = 8 };
static _Thread_local struct {
  float *memory;
  size_t count;
} scratch_memory[scratch_slots];

static inline float *scratch(int slot, size_t count) {
  if (scratch_memory[slot].count < count) {
    free(scratch_memory[slot].memory);
    scratch_memory[slot].memory = aligned_alloc(64, (count * sizeof(float) + 63) / 64 * 64);
    if (!scratch_memory[slot].memory) abort();  // at most a few hundred kilobytes: nothing left to try
    scratch_memory[slot].count = count;
  }
  return scratch_memory[slot].memory;
}

#endif
