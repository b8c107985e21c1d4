// A few rows, as in generation, against a matrix in its storage format. Bound by reading the matrix: each of its rows is
// read once, straight into a dot product.

// total (float types: floats) += 32 elements of a row, from i on, times those of x. Where there is one scale for all 32,
// it is applied to the sum; a minimum is multiplied by the sum of x over the 32, which is the same for all rows.
#define DOT32(format) INLINE void dot32_##format(stored_row row, long i, const float *x, float x_sum, lanes *total, v8 floats[4], float *rest)

enum { parts_of_32 = 32 / LANES };

#if LANES == 16
INLINE void add_v8(lanes *total, v8 x) {
  *total += __builtin_shufflevector(x, (v8){}, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
INLINE float sum_lanes(lanes x) {
  return sum8(__builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7) + __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15));
}
#else
INLINE void add_v8(lanes *total, v8 x) { *total += x; }
INLINE float sum_lanes(lanes x) { return sum8(x); }
#endif

typedef uint8_t byte_lanes __attribute__((vector_size(LANES), aligned(1)));
typedef int8_t signed_byte_lanes __attribute__((vector_size(LANES), aligned(1)));
typedef int32_t int_lanes __attribute__((vector_size(4 * LANES)));

// Float types are bound by reading alone, and 256-bit loads read a quarter faster than 512-bit ones on Zen 4.
#define FLOATS(format)                                                        \
  DOT32(format) {                                                             \
    v8 w[4];                                                                  \
    widen32_##format(row, i, w);                                              \
    _Pragma("clang loop unroll(full)") for (int j = 0; j < 4; j++)            \
      floats[j] += w[j] * load8(x + 8 * j);                                   \
  }
FLOATS(float32)
FLOATS(float16)
FLOATS(bfloat16)

// 16 bytes: the low nibbles are elements 0 to 15, the high ones 16 to 31, as levels 0 to 15.
INLINE lanes nibbles_times_x(const uint8_t *p, const float *x) {
#ifdef CK_AVX512
  const lanes levels = (lanes){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  __m512i bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
  lanes low = _mm512_permutexvar_ps(bytes, levels), high = _mm512_permutexvar_ps(_mm512_srli_epi32(bytes, 4), levels);
  return low * load(x) + high * load(x + 16);
#else
  v8 sum = low_nibbles(p) * load8(x) + low_nibbles(p + 8) * load8(x + 8);
  return sum + high_nibbles(p) * load8(x + 16) + high_nibbles(p + 8) * load8(x + 24);
#endif
}

DOT32(q4_0) {
  const uint8_t *block = row.bytes + i / 32 * 18;
  float d = half(block);
  *total += nibbles_times_x(block + 2, x) * d;
  *rest -= 8 * d * x_sum;
}
DOT32(q4_1) {
  const uint8_t *block = row.bytes + i / 32 * 20;
  *total += nibbles_times_x(block + 4, x) * half(block);
  *rest += half(block + 2) * x_sum;
}
DOT32(q8_0) {
  const uint8_t *block = row.bytes + i / 32 * 34;
  lanes sum = __builtin_convertvector(*(const signed_byte_lanes *)(block + 2), lanes) * load(x);
  for (int j = 1; j < parts_of_32; j++)
    sum += __builtin_convertvector(*(const signed_byte_lanes *)(block + 2 + j * LANES), lanes) * load(x + j * LANES);
  *total += sum * half(block);
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
  *total += sum * (half(block) * scale);
  *rest -= half(block + 2) * minimum * x_sum;
}
// The other formats by widening.
#define ELEMENTS(format)                               \
  DOT32(format) {                                      \
    v8 w[4];                                           \
    widen32_##format(row, i, w);                       \
    v8 sum = w[0] * load8(x);                          \
    for (int j = 1; j < 4; j++) sum += w[j] * load8(x + 8 * j); \
    add_v8(total, sum);                                 \
  }

ELEMENTS(q5_0)
ELEMENTS(q5_1)
ELEMENTS(q2_K)
ELEMENTS(q3_K)
ELEMENTS(q5_K)
ELEMENTS(q6_K)
ELEMENTS(nf4)
ELEMENTS(fp4)

// Four blocks of q4_0 or q4_1 at once, for registers of sixteen lanes: a lane takes four bytes, eight nibbles, of a block,
// and a permutation of a table of sixteen levels looks up one nibble of each lane.
#ifdef CK_AVX512
enum { group_elements = 128 };

INLINE bool is_grouped(ck_format format) { return format == ck_q4_0 || format == ck_q4_1; }

// x in the order in which the nibbles come: [8][16] for each group.
static void arrange_for_nibbles(const float *x, long k, float *out) {
  for (long i = 0; i + group_elements <= k; i += group_elements)
    for (long nibble = 0; nibble < 8; nibble++)
      for (long lane = 0; lane < 16; lane++)
        *out++ = x[i + lane / 4 * 32 + nibble % 2 * 16 + lane % 4 * 4 + nibble / 2];
}

INLINE uint32_t word(const uint8_t *p) {
  uint32_t bits;
  memcpy(&bits, p, 4);
  return bits;
}

// All whole groups of a row; returns how many elements they are.
INLINE long add_groups(
  stored_row row, const bool has_minimum, long k, const float *arranged, const float *x_sums, lanes *total, float *rest) {
  const long header = has_minimum ? 4 : 2, block = header + 16;
  const lanes from_zero = (lanes){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const lanes levels = has_minimum ? from_zero : from_zero - 8;
  const int_lanes scale_lanes = has_minimum ? (int_lanes){0, 0, 0, 0, 2, 2, 2, 2, 4, 4, 4, 4, 6, 6, 6, 6}
                                            : (int_lanes){0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3};
  v8 minima = splat8(0);
  long i = 0;
  for (; i + group_elements <= k; i += group_elements) {
    const uint8_t *p = row.bytes + i / 32 * block;
    __builtin_prefetch(p + 2048);
    __builtin_prefetch(p + 2048 + 64);
    __m512i bytes = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(p + header)));
    bytes = _mm512_inserti32x4(bytes, _mm_loadu_si128((const __m128i *)(p + block + header)), 1);
    bytes = _mm512_inserti32x4(bytes, _mm_loadu_si128((const __m128i *)(p + 2 * block + header)), 2);
    bytes = _mm512_inserti32x4(bytes, _mm_loadu_si128((const __m128i *)(p + 3 * block + header)), 3);
    lanes even = splat(0), odd = splat(0);
#pragma clang loop unroll(full)
    for (int nibble = 0; nibble < 8; nibble += 2) {
      even += (lanes)_mm512_permutexvar_ps(_mm512_srli_epi32(bytes, 4 * nibble), levels) * load(arranged + i + 16 * nibble);
      odd += (lanes)_mm512_permutexvar_ps(_mm512_srli_epi32(bytes, 4 * nibble + 4), levels) * load(arranged + i + 16 * nibble + 16);
    }
    // Scales, or scales and minima in turn.
    __m128i halves = has_minimum
      ? _mm_setr_epi32(word(p), word(p + block), word(p + 2 * block), word(p + 3 * block))
      : _mm_setr_epi16(word(p), word(p + block), word(p + 2 * block), word(p + 3 * block), 0, 0, 0, 0);
    v8 scales = _mm256_cvtph_ps(halves);
    *total += (even + odd) * (lanes)_mm512_permutexvar_ps((__m512i)scale_lanes, _mm512_castps256_ps512(scales));
    if (has_minimum) {
      const float *s = x_sums + i / 32;
      minima += scales * (v8){0, s[0], 0, s[1], 0, s[2], 0, s[3]};
    }
  }
  *rest += sum8(minima);
  return i;
}
#endif

// x . a row of the matrix. The rows lie one after the other, so what is needed soon is some way ahead of what is read
// now; formats that take some arithmetic leave the processor's own prefetching behind.
INLINE float dot(const float *x, const float *x_sums, const float *arranged, const ck_matrix *matrix, long number) {
  enum { ahead = 2048 };
  stored_row row = row_of(matrix, number);
  long k = matrix->columns, i = 0;
  lanes total = splat(0);
  v8 floats[4] = {};
  float rest = 0;
#ifdef CK_AVX512
  if (matrix->format == ck_q4_1) i = add_groups(row, true, k, arranged, x_sums, &total, &rest);
  else if (matrix->format == ck_q4_0) i = add_groups(row, false, k, arranged, x_sums, &total, &rest);
#endif
#define X(format)                                                          \
  for (; i + 32 <= k; i += 32) {                                           \
    if (ck_##format >= ck_q4_0) __builtin_prefetch(row.bytes + row_bytes(ck_##format, i) + ahead); \
    dot32_##format(row, i, x + i, x_sums[i / 32], &total, floats, &rest);   \
  }
  FOR_FORMAT(matrix->format, X)
#undef X
  rest += sum_lanes(total) + sum8((floats[0] + floats[1]) + (floats[2] + floats[3]));
  for (; i < k; i++) rest += x[i] * widen1(row, i);
  return rest;
}

void CK(ck_few_rows)(
  const float *x, long ldx, long m, const ck_matrix *right, float *y, long ldy, bool accumulate, long row_begin, long row_end) {
  const ck_matrix matrix = *right;  // known not to change while y is written
  long blocks = matrix.columns / 32;
  float *sums = scratch(0, m * blocks + 1), *arranged = NULL;
#ifdef CK_AVX512
  if (is_grouped(matrix.format)) {
    arranged = scratch(1, m * matrix.columns);
    for (long i = 0; i < m; i++) arrange_for_nibbles(x + i * ldx, matrix.columns, arranged + i * matrix.columns);
  }
#endif
  for (long i = 0; i < m; i++)
    for (long b = 0; b < blocks; b++) {
      const float *p = x + i * ldx + 32 * b;
      sums[i * blocks + b] = sum8((load8(p) + load8(p + 8)) + (load8(p + 16) + load8(p + 24)));
    }
  for (long row = row_begin; row < row_end; row++)
    for (long i = 0; i < m; i++) {
      float value = dot(x + i * ldx, sums + i * blocks, arranged ? arranged + i * matrix.columns : NULL, &matrix, row), *out = y + i * ldy + row;
      *out = accumulate ? *out + value : value;
    }
}
