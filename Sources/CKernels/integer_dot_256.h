// Integer dot products with 256-bit vectors (AVX2, AVX-VNNI) or pairs of 128-bit vectors (NEON dotprod); see
// integer_dot.h.

#if defined(CK_DOT_INSTRUCTION) || (defined(CK_AVX2) && !defined(CK_VNNI))
typedef uint8_t u8x16 __attribute__((vector_size(16)));
typedef uint8_t u8x32 __attribute__((vector_size(32)));
typedef int8_t s8x32 __attribute__((vector_size(32)));
typedef uint8_t u8x16_unaligned __attribute__((vector_size(16), aligned(1)));
typedef uint8_t u8x32_unaligned __attribute__((vector_size(32), aligned(1)));
typedef uint16_t u16x16 __attribute__((vector_size(32)));
typedef int32_t i32x4 __attribute__((vector_size(16)));
typedef int32_t i32x8_unaligned __attribute__((vector_size(32), aligned(4)));

// 256 elements of x as eight sets of digits, most significant first; the excess of codes stored with an offset; unit
// and sum per 32 elements; sums of digits per 16 elements, first the even
// ones. Digits are in the order of the format's codes
// (`pairs_blocks`).
typedef struct {
  int8_t digits[8][3][32];
  int32_t excess[8][8];
  float units[8], sums[8];
  int16_t digit_sums[3][16];
} x_group;

enum { group = 256 };

INLINE u8x16 load_u8x16(const uint8_t *p) { return *(const u8x16_unaligned *)p; }
INLINE u8x32 load_u8x32(const void *p) { return *(const u8x32_unaligned *)p; }

// Formats whose blocks of 32 have elements 0 to 15 in low nibbles and 16 to 31 in high ones go through two blocks at a
// time: one set of digits for the low nibbles of both, one for the high ones. In others, a set is 32 adjacent elements.
INLINE bool pairs_blocks(ck_format format) {
  return format == ck_q4_0 || format == ck_q4_1 || format == ck_q5_0 || format == ck_q5_1;
}

#if defined(CK_DOT_INSTRUCTION)
// sum += products of unsigned codes below 128 and digits, four adjacent ones per lane.
INLINE i32x8 add_dot(i32x8 sum, u8x32 codes, u8x32 digits) {
#if defined(__aarch64__)
  int32x4_t low = (int32x4_t)__builtin_shufflevector(sum, sum, 0, 1, 2, 3);
  int32x4_t high = (int32x4_t)__builtin_shufflevector(sum, sum, 4, 5, 6, 7);
  s8x32 a = (s8x32)codes, b = (s8x32)digits;
#define HALF(x, first)                                                                                              \
  (int8x16_t) __builtin_shufflevector(                                                                              \
    x, x, first, first + 1, first + 2, first + 3, first + 4, first + 5, first + 6, first + 7, first + 8, first + 9, \
    first + 10, first + 11, first + 12, first + 13, first + 14, first + 15)
  low = vdotq_s32(low, HALF(a, 0), HALF(b, 0));
  high = vdotq_s32(high, HALF(a, 16), HALF(b, 16));
#undef HALF
  return __builtin_shufflevector((i32x4)low, (i32x4)high, 0, 1, 2, 3, 4, 5, 6, 7);
#else
  return (i32x8)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)codes, (__m256i)digits);
#endif
}

// 32 codes times a set of digits: four adjacent products per lane, in units of x.
INLINE i32x8 dot_set(u8x32 codes, const int8_t digits[3][32]) {
  i32x8 sum = add_dot((i32x8){}, codes, load_u8x32(digits[0]));
  sum = add_dot(sum << 8, codes, load_u8x32(digits[1]));
  return add_dot(sum << 8, codes, load_u8x32(digits[2]));
}

// The sum of two sets.
INLINE i32x8 dot_sets(u8x32 a, u8x32 b, const int8_t digits[2][3][32]) {
  i32x8 sum = {};
#pragma clang loop unroll(full)
  for (int i = 0; i < 3; i++)
    sum = add_dot(add_dot(sum << 8, a, load_u8x32(digits[0][i])), b, load_u8x32(digits[1][i]));
  return sum;
}
#else
// Sums of two products each, in 16 bits. They do not saturate: codes are below 64, so a sum is below 2 * 63 * 128.
INLINE __m256i pair_sums(u8x32 codes, const int8_t digits[32]) {
  return _mm256_maddubs_epi16((__m256i)codes, (__m256i)load_u8x32(digits));
}

// Two sets of 32 codes below 32 times digits: eight products per lane, in units of x.
INLINE i32x8 dot_sets(u8x32 a, u8x32 b, const int8_t digits[2][3][32]) {
  const __m256i one = _mm256_set1_epi16(1), base = _mm256_set1_epi16(256);
  __m256i by_digit[3];
#pragma clang loop unroll(full)
  for (int i = 0; i < 3; i++) by_digit[i] = _mm256_add_epi16(pair_sums(a, digits[0][i]), pair_sums(b, digits[1][i]));
  __m256i sum = _mm256_add_epi32(_mm256_madd_epi16(by_digit[0], base), _mm256_madd_epi16(by_digit[1], one));
  return (i32x8)_mm256_add_epi32(_mm256_slli_epi32(sum, 8), _mm256_madd_epi16(by_digit[2], one));
}

// Blocks of 256 scale parts of themselves by integers, so their sums stay integers up to the end: sums of products
// times scales, by digit.
typedef struct {
  __m256i by_digit[3];
} digit_sums;

// Adds 32 codes below 64 times a set of digits, times scales.
INLINE void add_scaled_set(u8x32 codes, const int8_t digits[3][32], __m256i scales, digit_sums *sums) {
#pragma clang loop unroll(full)
  for (int i = 0; i < 3; i++) {
    __m256i products = _mm256_madd_epi16(pair_sums(codes, digits[i]), scales);
    sums->by_digit[i] = _mm256_add_epi32(sums->by_digit[i], products);
  }
}

// The 16-bit word i of each half of x, for all of that half.
INLINE __m256i splat_words(__m256i x, const int i) {
  return _mm256_shuffle_epi8(x, _mm256_set1_epi16((short)(2 * i | (2 * i + 1) << 8)));
}

INLINE v8 weigh_digits(digit_sums sums) {
  v8 a = _mm256_cvtepi32_ps(sums.by_digit[0]), b = _mm256_cvtepi32_ps(sums.by_digit[1]);
  return a * 65536 + (b * 256 + (v8)_mm256_cvtepi32_ps(sums.by_digit[2]));
}
#endif

// Where element `e` of a group, a multiple of 8, has its digits.
INLINE int8_t *digit_place(x_group *out, bool pairs, long e) {
  return pairs ? &out->digits[e / 64 * 2 + e % 32 / 16][0][e % 64 / 32 * 16 + e % 16] : &out->digits[e / 32][0][e % 32];
}

// Whether all 256 elements of a group have the same unit, as sums that stay integers need.
INLINE bool shares_unit(ck_format format) {
#ifdef CK_DOT_INSTRUCTION
  return false;
#else
  return format == ck_q4_K || format == ck_q5_K || format == ck_q6_K;
#endif
}

INLINE void prepare_group(
  const float *x, long count, const bool pairs, const bool one_unit, const float most, int offset, x_group *out) {
  typedef int8_t digits8 __attribute__((vector_size(8), aligned(1)));
  if (count < group) memset(out, 0, sizeof *out);
  float largest = 0;
  if (one_unit) {
    v8 largest8 = splat8(0);
    for (long e = 0; e < count; e += 8) largest8 = max8(largest8, max8(load8(x + e), -load8(x + e)));
    largest = max_lane(largest8);
  }
  for (long e = 0; e < count; e += 32) {
    v8 part[4], largest8 = splat8(0);
    for (int j = 0; j < 4; j++) {
      part[j] = load8(x + e + 8 * j);
      largest8 = max8(largest8, max8(part[j], -part[j]));
    }
    if (!one_unit) largest = max_lane(largest8);
    float total = sum_lanes8((part[0] + part[1]) + (part[2] + part[3]));
    float per_unit = largest > 1e-30f ? most / largest : 0;
    // Scales of pairs are read as those of even blocks and then those of odd ones.
    long b = pairs ? e / 64 + e / 32 % 2 * 4 : e / 32;
    out->sums[b] = total;
    // NaN if an element is not finite.
    out->units[b] = largest * (1 / most) + (total - total);
    for (int j = 0; j < 4; j++) {
      i32x8 whole = __builtin_convertvector(__builtin_elementwise_roundeven(part[j] * per_unit), i32x8) + 0x808080;
      int8_t *place = digit_place(out, pairs, e + 8 * j);
      for (int digit = 0; digit < 3; digit++)
        *(digits8 *)(place + 32 * digit) = __builtin_convertvector((whole >> (16 - 8 * digit) & 255) - 128, digits8);
    }
  }
  if (one_unit) {
    for (int b = 1; b < 8; b++) out->units[0] += out->units[b] - out->units[b];  // NaN if any of them is
    for (int i = 0; offset && i < 3; i++)
      for (int b = 0; b < 16; b++) {
        const int8_t *digits = out->digits[b / 2][i] + 16 * (b % 2);
        int sum = 0;
        for (int j = 0; j < 16; j++) sum += digits[j];
        out->digit_sums[i][b / 2 + b % 2 * 8] = (int16_t)sum;
      }
    return;
  }
  if (offset == 0) return;
  const u8x32 offsets = (u8x32){} + (uint8_t)offset;
  for (int s = 0; s < 8; s += pairs ? 2 : 1) {
#ifdef CK_DOT_INSTRUCTION
    i32x8 excess = pairs ? dot_sets(offsets, offsets, out->digits + s) : dot_set(offsets, out->digits[s]);
#else
    i32x8 excess = dot_sets(offsets, offsets, out->digits + s);
#endif
    *(i32x8_unaligned *)out->excess[pairs ? s / 2 : s] = excess;
  }
}

INLINE void prepare_integer_dot(const float *x, long k, ck_format format, void *out) {
  // So that the sums of four products (eight in pairs of blocks) fit into 32 bits: 6-bit codes, or signed 8-bit ones.
  const float most = format == ck_q8_0 ? 127 << 15 : 127 << 16;
  const int offset = code_offset(format);
  for (long e = 0; e < k; e += group) {
    x_group *to = (x_group *)out + e / group;
    long count = k - e < group ? k - e : group;
    if (pairs_blocks(format)) prepare_group(x + e, count, true, false, most, offset, to);
    else if (shares_unit(format)) prepare_group(x + e, count, false, true, most, offset, to);
    else prepare_group(x + e, count, false, false, most, offset, to);
  }
}

INLINE v8 int_sums(i32x8 sums) { return __builtin_convertvector(sums, v8); }
INLINE i32x8 excess_of(const x_group *x, int set) { return *(const i32x8_unaligned *)x->excess[set]; }
INLINE v8 half_floats(u16x8 bits) {
#ifdef CK_AVX2
  return (v8)_mm256_cvtph_ps((__m128i)bits);
#else
  return __builtin_convertvector((fp16x8)bits, v8);
#endif
}

// The float16 at p and the next one. All of the eight bytes at p can be read.
INLINE void two_scales(const uint8_t *p, float *first, float *second) {
#ifdef CK_AVX2
  // Loaded together: loads of single words wait for the register they are inserted into.
  __m128 floats = _mm_cvtph_ps(_mm_loadl_epi64((const __m128i *)p));
  *first = floats[0];
  *second = floats[1];
#else
  *first = load_half(p);
  *second = load_half(p + 2);
#endif
}

INLINE long smaller(long a, long b) { return a < b ? a : b; }

// The float16 at the start of each of eight blocks: in order, or with `pairs` those of even blocks before odd ones. In
// place of blocks from number `blocks` on, it reads the last one.
INLINE v8 block_scales(const uint8_t *p, const long size, const long blocks, const bool pairs) {
  const int step = pairs ? 2 : 1, fourth = pairs ? 1 : 4;
  u16x8 bits;
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) {
    bits[i] = (uint16_t)load_u16(p + smaller(step * i, blocks - 1) * size);
    bits[i + 4] = (uint16_t)load_u16(p + smaller(step * i + fourth, blocks - 1) * size);
  }
  return half_floats(bits);
}

// Lane i of each half of x, for all of that half.
INLINE v8 splat_halves(v8 x, const int i) {
  switch (i) {
    case 0: return __builtin_shufflevector(x, x, 0, 0, 0, 0, 4, 4, 4, 4);
    case 1: return __builtin_shufflevector(x, x, 1, 1, 1, 1, 5, 5, 5, 5);
    case 2: return __builtin_shufflevector(x, x, 2, 2, 2, 2, 6, 6, 6, 6);
    default: return __builtin_shufflevector(x, x, 3, 3, 3, 3, 7, 7, 7, 7);
  }
}

// The 16 bytes at p and those at q.
INLINE u8x32 two_halves(const uint8_t *p, const uint8_t *q) {
  u8x16 a = load_u8x16(p), b = load_u8x16(q);
  return __builtin_shufflevector(
    a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29,
    30, 31);
}

// a for the lower four lanes, b for the upper four.
INLINE v8 lane_scales(float a, float b) { return (v8){a, a, a, a, b, b, b, b}; }

// 16 in each byte of a set whose fifth bit is set. Each half has 32 bits for its block, those for this set in `bits` at
// bytes 0 and 1 or, if `high`, 2 and 3.
INLINE u8x32 fifth_bit_set(u8x32 bits, const bool high) {
  u8x32 spread = high ? (u8x32)__builtin_shufflevector(
                   bits, bits, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 18, 18, 18, 18, 18, 18, 18, 18, 19, 19,
                   19, 19, 19, 19, 19, 19)
                      : (u8x32)__builtin_shufflevector(
                        bits, bits, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 16, 16, 16, 16, 16, 16, 16, 16, 17,
                        17, 17, 17, 17, 17, 17, 17);
  const u8x32 selected = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128,
                          1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  return (u8x32)((spread & selected) == selected) & 16;
}

INLINE u8x32 two_words(const uint8_t *p, const uint8_t *q) {
  int32_t a, b;
  memcpy(&a, p, 4);
  memcpy(&b, q, 4);
  return (u8x32)(i32x8){a, a, a, a, b, b, b, b};
}

// What a row's dot product has added up to.
typedef struct {
  v8 total, minima;
} row_sums;

// Eight blocks of 32 at p, in pairs: `size` bytes each, nibbles from `nibbles` on, fifth bits at `fifth` if
// that is not 0. With `has_minimum`, the block's second float16 is added to each element. `blocks` of them exist; the
// digits, units and sums of x are zero for the others.
INLINE void add_pairs_of_blocks(
  const ck_format format, const long size, const long nibbles, const long fifth, const bool has_minimum,
  const uint8_t *p, const long blocks, const x_group *x, row_sums *out) {
  v8 scales = block_scales(p, size, blocks, true) * load8(x->units);
  if (has_minimum) out->minima += block_scales(p + 2, size, blocks, true) * load8(x->sums);
#pragma clang loop unroll(full)
  for (int pair = 0; pair < 4; pair++) {
    if (2 * pair >= blocks) break;
    const uint8_t *a = p + 2 * pair * size, *b = 2 * pair + 1 < blocks ? a + size : a;
    u8x32 codes = two_halves(a + nibbles, b + nibbles), low = codes & 15, high = codes >> 4;
    if (fifth) {
      u8x32 bits = two_words(a + fifth, b + fifth);
      low |= fifth_bit_set(bits, false);
      high |= fifth_bit_set(bits, true);
    }
    i32x8 sums = dot_sets(low, high, x->digits + 2 * pair);
    if (code_offset(format)) sums -= excess_of(x, pair);
    out->total += int_sums(sums) * splat_halves(scales, pair);
  }
}

// The 6-bit scales and then the minimums of the eight sub-blocks of q4_K and q5_K, as scale_and_minimum reads them.
INLINE void unpack_scales(const uint8_t *p, uint32_t unpacked[4]) {
  uint32_t words[3];
  memcpy(words, p + 4, 12);
  unpacked[0] = words[0] & 0x3f3f3f3f;
  unpacked[1] = (words[2] & 0x0f0f0f0f) | (words[0] >> 6 & 0x03030303) << 4;
  unpacked[2] = words[1] & 0x3f3f3f3f;
  unpacked[3] = (words[2] >> 4 & 0x0f0f0f0f) | (words[1] >> 6 & 0x03030303) << 4;
}

// Sub-blocks s (even) and s + 1 of a block of q4_K or, with fifth bits, q5_K.
INLINE void sub_block_codes(const uint8_t *p, const bool has_fifth, const int s, u8x32 *low, u8x32 *high) {
  u8x32 codes = load_u8x32(p + (has_fifth ? 48 : 16) + 16 * s);
  *low = codes & 15;
  *high = codes >> 4;
  if (!has_fifth) return;
  // Bits s and s + 1 of each byte, to bit 4. Shifts are by 16-bit lanes; the mask removes what crosses bytes.
  u16x16 fifth = (u16x16)load_u8x32(p + 16);
  *low |= (u8x32)(s < 4 ? fifth << (4 - s) : fifth >> (s - 4)) & 16;
  *high |= (u8x32)(s < 3 ? fifth << (3 - s) : fifth >> (s - 3)) & 16;
}

// 32 codes of q6_K, from 0 to 63.
INLINE u8x32 q6_K_codes(const uint8_t *p, const int set) {
  const int half = set / 4, s = set % 4;
  u16x16 upper = (u16x16)load_u8x32(p + 128 + 32 * half);
  u8x32 bytes = load_u8x32(p + 64 * half + 32 * (s % 2)), nibble = s < 2 ? bytes & 15 : bytes >> 4;
  return nibble | ((u8x32)(s == 0 ? upper << 4 : s == 1 ? upper << 2 : s == 2 ? upper : upper >> 2) & 0x30);
}

#ifdef CK_DOT_INSTRUCTION
INLINE void add_sub_blocks(const uint8_t *p, const bool has_fifth, const x_group *x, row_sums *out) {
  float scales[8];
  uint32_t unpacked[4];
  unpack_scales(p, unpacked);
  store8(scales, bytes_to_floats((const uint8_t *)unpacked) * load_half(p) * load8(x->units));
  out->minima -= bytes_to_floats((const uint8_t *)(unpacked + 2)) * load_half(p + 2) * load8(x->sums);
#pragma clang loop unroll(full)
  for (int s = 0; s < 8; s += 2) {
    u8x32 low, high;
    sub_block_codes(p, has_fifth, s, &low, &high);
    out->total += int_sums(dot_set(low, x->digits[s])) * scales[s];
    out->total += int_sums(dot_set(high, x->digits[s + 1])) * scales[s + 1];
  }
}

INLINE void add_q6_K(const uint8_t *p, const x_group *x, row_sums *out) {
  float scales[16];
  v8 units = load8(x->units);
  v8 low = __builtin_shufflevector(units, units, 0, 0, 1, 1, 2, 2, 3, 3);
  v8 high = __builtin_shufflevector(units, units, 4, 4, 5, 5, 6, 6, 7, 7);
  float d = load_half(p + 208);
  store8(scales, signed_bytes((const int8_t *)p + 192) * d * low);
  store8(scales + 8, signed_bytes((const int8_t *)p + 200) * d * high);
#pragma clang loop unroll(full)
  for (int set = 0; set < 8; set++) {
    i32x8 sums = dot_set(q6_K_codes(p, set), x->digits[set]) - excess_of(x, set);
    out->total += int_sums(sums) * lane_scales(scales[2 * set], scales[2 * set + 1]);
  }
}

// Eight blocks of q8_0. Signed codes: NEON multiplies them as they are; x86 needs unsigned ones, with 128 added.
INLINE void add_q8_0(const uint8_t *p, const long blocks, const x_group *x, row_sums *out) {
  float scales[8];
  store8(scales, block_scales(p, 34, blocks, false) * load8(x->units));
#pragma clang loop unroll(full)
  for (int b = 0; b < 8; b++) {
    if (b >= blocks) break;
    u8x32 codes = load_u8x32(p + 34 * b + 2);
#if defined(__aarch64__)
    i32x8 sums = dot_set(codes, x->digits[b]);
#else
    i32x8 sums = dot_set(codes ^ 128, x->digits[b]) - excess_of(x, b);
#endif
    out->total += int_sums(sums) * scales[b];
  }
}
#else
INLINE void add_sub_blocks(const uint8_t *p, const bool has_fifth, const x_group *x, row_sums *out) {
  digit_sums sums = {};
  float d, dmin;
  uint32_t unpacked[4];
  unpack_scales(p, unpacked);
  __m256i scales = _mm256_broadcastsi128_si256(_mm_cvtepu8_epi16(_mm_loadl_epi64((const __m128i *)unpacked)));
  two_scales(p, &d, &dmin);
  out->minima -= bytes_to_floats((const uint8_t *)(unpacked + 2)) * dmin * load8(x->sums);
#pragma clang loop unroll(full)
  for (int s = 0; s < 8; s += 2) {
    u8x32 low, high;
    sub_block_codes(p, has_fifth, s, &low, &high);
    add_scaled_set(low, x->digits[s], splat_words(scales, s), &sums);
    add_scaled_set(high, x->digits[s + 1], splat_words(scales, s + 1), &sums);
  }
  out->total += weigh_digits(sums) * (d * x->units[0]);
}

INLINE void add_q6_K(const uint8_t *p, const x_group *x, row_sums *out) {
  digit_sums sums = {};
  // A scale for 16 elements, two for a set: those of the first halves in the lower half of the register.
  const __m128i evens_and_odds = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
  __m128i bytes = _mm_loadu_si128((const __m128i *)(p + 192));
  __m256i scales = _mm256_cvtepi8_epi16(_mm_shuffle_epi8(bytes, evens_and_odds));
  // The last of eight bytes: see two_scales.
  float d = _mm_cvtph_ps(_mm_loadl_epi64((const __m128i *)(p + 202)))[3];
#pragma clang loop unroll(full)
  for (int set = 0; set < 8; set++) add_scaled_set(q6_K_codes(p, set), x->digits[set], splat_words(scales, set), &sums);
  for (int i = 0; i < 3; i++) {
    __m256i excess = _mm256_madd_epi16(scales, (__m256i)load_u8x32(x->digit_sums[i]));
    sums.by_digit[i] = _mm256_sub_epi32(sums.by_digit[i], _mm256_slli_epi32(excess, 5));
  }
  out->total += weigh_digits(sums) * (d * x->units[0]);
}
#endif

// The dot product of a row. STEP handles eight blocks of 32 at p, `size` bytes in all, of which the first `blocks`
// exist.
#define INTEGER_DOT(format, size, STEP)                                              \
  INLINE float integer_dot_##format(prepared_row prepared, stored_row row, long k) { \
    const x_group *x = (const x_group *)prepared.prepared;                           \
    const uint8_t *p = row.bytes;                                                    \
    row_sums sums = {};                                                              \
    long blocks = group / 32;                                                        \
    for (; k >= group; k -= group, p += (size), x++) {                               \
      prefetch(p, (size));                                                           \
      STEP;                                                                          \
    }                                                                                \
    blocks = k / 32;                                                                 \
    if (blocks > 0) {                                                                \
      STEP;                                                                          \
    }                                                                                \
    return sum_lanes8(sums.total + sums.minima);                                     \
  }
INTEGER_DOT(q4_0, 8 * 18, add_pairs_of_blocks(ck_q4_0, 18, 2, 0, false, p, blocks, x, &sums))
INTEGER_DOT(q4_1, 8 * 20, add_pairs_of_blocks(ck_q4_1, 20, 4, 0, true, p, blocks, x, &sums))
INTEGER_DOT(q5_0, 8 * 22, add_pairs_of_blocks(ck_q5_0, 22, 6, 2, false, p, blocks, x, &sums))
INTEGER_DOT(q5_1, 8 * 24, add_pairs_of_blocks(ck_q5_1, 24, 8, 4, true, p, blocks, x, &sums))
#ifdef CK_DOT_INSTRUCTION
INTEGER_DOT(q8_0, 8 * 34, add_q8_0(p, blocks, x, &sums))
#endif
INTEGER_DOT(q4_K, 144, add_sub_blocks(p, false, x, &sums))
INTEGER_DOT(q5_K, 176, add_sub_blocks(p, true, x, &sums))
INTEGER_DOT(q6_K, 210, add_q6_K(p, x, &sums))
#endif
