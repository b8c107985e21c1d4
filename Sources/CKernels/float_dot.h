// Float dot products for decode, for formats that have no faster way.

// total (for float types: floats) += elements [i, i + 32) of a row times those of x. A scale shared by all 32 is
// applied to their sum; a minimum is multiplied by the sum of x over the 32, which is the same for every row.
#define DOT32(format)         \
  INLINE void dot32_##format( \
    stored_row row, long i, const float *x, float x_sum, lanes *total, v8 floats[4], float *rest)

enum { parts_of_32 = 32 / LANES };

#if LANES == 16
INLINE void add_v8(lanes *total, v8 x) {
  *total += __builtin_shufflevector(x, (v8){}, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
INLINE float sum_lanes(lanes x) {
  return sum_lanes8(
    __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7)
    + __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15));
}
#else
INLINE void add_v8(lanes *total, v8 x) { *total += x; }
INLINE float sum_lanes(lanes x) { return sum_lanes8(x); }
#endif

typedef uint8_t byte_lanes __attribute__((vector_size(LANES), aligned(1)));
typedef int8_t signed_byte_lanes __attribute__((vector_size(LANES), aligned(1)));

// Float formats are purely bandwidth-bound, and 256-bit loads read 25% faster than 512-bit loads on Zen 4.
#define FLOATS(format)                                                                                   \
  DOT32(format) {                                                                                        \
    v8 w[4];                                                                                             \
    dequantize32_##format(row, i, w);                                                                    \
    _Pragma("clang loop unroll(full)") for (int j = 0; j < 4; j++) floats[j] += w[j] * load8(x + 8 * j); \
  }
FLOATS(float32)
FLOATS(float16)
FLOATS(bfloat16)

// The other formats: dequantize, then multiply.
#define ELEMENTS(format)                                        \
  DOT32(format) {                                               \
    v8 w[4];                                                    \
    dequantize32_##format(row, i, w);                           \
    v8 sum = w[0] * load8(x);                                   \
    for (int j = 1; j < 4; j++) sum += w[j] * load8(x + 8 * j); \
    add_v8(total, sum);                                         \
  }

ELEMENTS(q5_0)
ELEMENTS(q5_1)
ELEMENTS(q2_K)
ELEMENTS(q3_K)
ELEMENTS(q5_K)
ELEMENTS(nf4)
ELEMENTS(fp4)
ELEMENTS(q6_K)
LATER_FORMATS(ELEMENTS)

// Codes 0 to 15 from 16 bytes times 32 elements of x: low nibbles are elements 0 to 15, high nibbles 16 to 31.
INLINE v8 nibbles_times_x(const uint8_t *p, const float *x) {
  v8 sum = low_nibbles(p) * load8(x) + low_nibbles(p + 8) * load8(x + 8);
  return sum + high_nibbles(p) * load8(x + 16) + high_nibbles(p + 8) * load8(x + 24);
}

DOT32(q4_0) {
  const uint8_t *block = row.bytes + i / 32 * 18;
  float d = load_half(block);
  add_v8(total, nibbles_times_x(block + 2, x) * d);
  *rest -= 8 * d * x_sum;
}
DOT32(q4_1) {
  const uint8_t *block = row.bytes + i / 32 * 20;
  add_v8(total, nibbles_times_x(block + 4, x) * load_half(block));
  *rest += load_half(block + 2) * x_sum;
}
DOT32(q8_0) {
  const uint8_t *block = row.bytes + i / 32 * 34;
  lanes sum = __builtin_convertvector(*(const signed_byte_lanes *)(block + 2), lanes) * load(x);
  for (int j = 1; j < parts_of_32; j++)
    sum += __builtin_convertvector(*(const signed_byte_lanes *)(block + 2 + j * LANES), lanes) * load(x + j * LANES);
  *total += sum * load_half(block);
}
DOT32(q4_K) {
  const uint8_t *block = row.bytes + i / 256 * 144;
  long s = i % 256 / 32;
  int scale, minimum;
  scale_and_minimum(block + 4, s, &scale, &minimum);
  const uint8_t *q = block + 16 + 32 * (s / 2);
  lanes sum = splat(0);
  for (int j = 0; j < parts_of_32; j++) {
    byte_lanes bytes = *(const byte_lanes *)(q + j * LANES);
    sum += __builtin_convertvector(s % 2 ? bytes >> 4 : bytes & 15, lanes) * load(x + j * LANES);
  }
  *total += sum * (load_half(block) * scale);
  *rest -= load_half(block + 2) * minimum * x_sum;
}

// Formats that take some arithmetic outrun the hardware prefetcher, hence the explicit prefetch; Intel's does not keep
// up with floats either. Rows are contiguous, so the row's end prefetches the next row's start.
INLINE void prefetch_elements(stored_row row, ck_format format, long i) {
  if (format < ck_q4_0 && !ck_is_intel) return;
  const uint8_t *p = row.bytes + row_bytes(format, i) + prefetch_distance;
  __builtin_prefetch(p);
  if (format == ck_float32) __builtin_prefetch(p + 64);
}

// Dot product of x with a row.
#define DOT(format)                                                                           \
  INLINE float float_dot_##format(prepared_row x, stored_row row, long k) {                   \
    lanes total = splat(0);                                                                   \
    v8 floats[4] = {};                                                                        \
    float rest = 0;                                                                           \
    long i = 0;                                                                               \
    for (; i + 32 <= k; i += 32) {                                                            \
      prefetch_elements(row, ck_##format, i);                                                 \
      dot32_##format(row, i, x.x + i, x.prepared[i / 32], &total, floats, &rest);             \
    }                                                                                         \
    rest += sum_lanes(total) + sum_lanes8((floats[0] + floats[1]) + (floats[2] + floats[3])); \
    for (; i < k; i++) rest += x.x[i] * dequantize1(row, i);                                  \
    return rest;                                                                              \
  }
FLOAT_FORMATS(DOT)
TABLE_FORMATS(DOT)
