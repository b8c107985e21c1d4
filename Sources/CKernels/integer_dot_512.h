// Integer dot products with 512-bit vectors (AVX-512 VNNI); see integer_dot.h.

#ifdef CK_VNNI
// 128 elements of x: digits, most significant first, as two sets of 64 in the order of the format's codes; the excess
// of codes stored with an offset; unit and sum per 32 elements.
typedef struct {
  int8_t digits[2][3][64];
  int32_t excess[2][16];
  float units[4], sums[4], unused[8];
} x_group;

enum { group = 128 };

typedef uint16_t words32 __attribute__((vector_size(64)));

INLINE __m512i bytes64(const void *p) { return _mm512_loadu_si512(p); }
INLINE __m512i nibbles(__m512i x) { return x & _mm512_set1_epi8(15); }
INLINE __m512i high(__m512i x) { return nibbles(_mm512_srli_epi16(x, 4)); }
INLINE lanes floats_of(__m512i sums) { return (lanes)_mm512_cvtepi32_ps(sums); }

// 64 unsigned codes times a set of digits: four adjacent products per lane, in units of x.
INLINE __m512i times_digits(__m512i codes, const int8_t digits[3][64]) {
  __m512i sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), codes, bytes64(digits[0]));
  sum = _mm512_dpbusd_epi32(_mm512_slli_epi32(sum, 8), codes, bytes64(digits[1]));
  return _mm512_dpbusd_epi32(_mm512_slli_epi32(sum, 8), codes, bytes64(digits[2]));
}

// `low` times the first set plus `upper` times the second.
INLINE __m512i times_both(__m512i low, __m512i upper, const x_group *x) {
  __m512i sum = _mm512_setzero_si512();
#pragma clang loop unroll(full)
  for (int digit = 0; digit < 3; digit++) {
    sum = _mm512_dpbusd_epi32(_mm512_slli_epi32(sum, 8), low, bytes64(x->digits[0][digit]));
    sum = _mm512_dpbusd_epi32(sum, upper, bytes64(x->digits[1][digit]));
  }
  return sum;
}

// The same with low and high nibbles.
INLINE __m512i times_nibbles(__m512i codes, const x_group *x) { return times_both(nibbles(codes), high(codes), x); }

// Products of codes stored with an offset, minus the offset's contribution.
INLINE __m512i less_excess(__m512i codes, const x_group *x, int set) {
  return _mm512_sub_epi32(times_digits(codes, x->digits[set]), bytes64(x->excess[set]));
}

// Sums over both sets of codes stored with an offset, minus the offset's contribution.
INLINE __m512i less_both_excesses(__m512i sums, const x_group *x) {
  return _mm512_sub_epi32(sums, _mm512_add_epi32(bytes64(x->excess[0]), bytes64(x->excess[1])));
}

// Adjacent elements per set: blocks of 32 alternate between low and high nibbles every 16 elements, q4_K and q5_K every
// 32.
INLINE long run_of(ck_format format) {
  switch (format) {
    case ck_q4_0:
    case ck_q4_1:
    case ck_q5_0:
    case ck_q5_1: return 16;
    case ck_q4_K:
    case ck_q5_K: return 32;
    default: return 64;
  }
}

INLINE void write_digits(const float *x, float per_unit, int8_t *out) {
  __m512i whole = _mm512_cvtps_epi32(_mm512_loadu_ps(x) * _mm512_set1_ps(per_unit));
  whole = _mm512_add_epi32(whole, _mm512_set1_epi32(0x808080));
  for (int digit = 0; digit < 3; digit++) {
    __m128i from_zero = _mm512_cvtepi32_epi8(_mm512_srli_epi32(whole, 16 - 8 * digit));
    _mm_storeu_si128((__m128i *)(out + 64 * digit), from_zero ^ _mm_set1_epi8((char)0x80));
  }
}

INLINE void prepare_group(const float *x, long count, const long run, ck_format format, x_group *out) {
  // So that the sum of four products fits into 32 bits: 6-bit codes, or signed 8-bit ones.
  const float most = format == ck_q8_0 ? 127 << 15 : 127 << 16;
  if (count < group) memset(out, 0, sizeof *out);
  for (long e = 0; e < count; e += 32) {
    __m512 first = _mm512_loadu_ps(x + e), second = _mm512_loadu_ps(x + e + 16);
    float largest = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(first), _mm512_abs_ps(second)));
    float per_unit = largest > 1e-30f ? most / largest : 0, sum = _mm512_reduce_add_ps(first + second);
    out->sums[e / 32] = sum;
    // NaN if an element is not finite.
    out->units[e / 32] = largest * (1 / most) + (sum - sum);
    for (long i = e; i < e + 32; i += 16)
      write_digits(x + i, per_unit, &out->digits[i / run % 2][0][i / (2 * run) * run + i % run]);
  }
  const int added = code_offset(format);
  for (int set = 0; added && set < 2; set++)
    _mm512_storeu_si512(out->excess[set], times_digits(_mm512_set1_epi8((char)added), out->digits[set]));
}

INLINE void prepare_groups(const float *x, long k, const long run, ck_format format, x_group *out) {
  for (long e = 0; e < k; e += group) prepare_group(x + e, k - e < group ? k - e : group, run, format, out + e / group);
}
INLINE void prepare_integer_dot(const float *x, long k, ck_format format, void *out) {
  switch (run_of(format)) {
    case 16: return prepare_groups(x, k, 16, format, out);
    case 32: return prepare_groups(x, k, 32, format, out);
    default: return prepare_groups(x, k, 64, format, out);
  }
}

// The first `count` bytes, at most 64, zero-filled.
INLINE words32 first_bytes(const uint8_t *p, long count) {
  if (count >= 64) return (words32)bytes64(p);
  if (count == 16) return (words32)_mm512_zextsi128_si512(_mm_loadu_si128((const __m128i *)p));
  if (count == 8) return (words32)_mm512_zextsi128_si512(_mm_loadl_epi64((const __m128i *)p));
  return (words32)_mm512_maskz_loadu_epi8(count > 0 ? (1ull << count) - 1 : 0, p);
}

INLINE uint32_t word(const uint8_t *p) {
  uint32_t bits;
  memcpy(&bits, p, 4);
  return bits;
}

// Selected words of a and b; selected floats of x, each for four or eight lanes.
#define WORDS(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#define FOUR_LANES(x, i, j, k, l) ((lanes)__builtin_shufflevector(x, x, i, i, i, i, j, j, j, j, k, k, k, k, l, l, l, l))
#define EIGHT_LANES(x, i, j) FOUR_LANES(x, i, i, j, j)

// Of four blocks of `size` words in a and b: their codes, eight words each from word `first` on; and their words 0 and
// `second`, which are scales.
#define EIGHT(i) i, i + 1, i + 2, i + 3, i + 4, i + 5, i + 6, i + 7
#define FOUR_CODES(a, b, first, size) \
  (__m512i) WORDS(a, b, EIGHT(first), EIGHT(first + size), EIGHT(first + 2 * size), EIGHT(first + 3 * size))
#define FOUR_SCALES(a, b, second, size) \
  halves_to_floats(                     \
    WORDS(a, b, 0, size, 2 * size, 3 * size, second, second + size, second + 2 * size, second + 3 * size))

// Eight float16 to float32.
INLINE v8 halves_to_floats(u16x8 words) { return (v8)_mm256_cvtph_ps((__m128i)words); }

// Each of these adds the products of a group, of which `blocks` blocks of 32 exist, to `total`, and for formats with
// minimums their products with the sums of x to the last four lanes of `minima`.

INLINE void add_q4_0(const uint8_t *p, long blocks, const x_group *x, lanes total[2]) {
  words32 a = first_bytes(p, 18 * blocks), b = first_bytes(p + 64, 18 * blocks - 64);
  __m512i codes = FOUR_CODES(a, b, 1, 9);
  v8 scales = FOUR_SCALES(a, b, 0, 9) * load8(x->units);
  total[0] += floats_of(less_both_excesses(times_nibbles(codes, x), x)) * FOUR_LANES(scales, 0, 1, 2, 3);
}

INLINE void add_q4_1(const uint8_t *p, long blocks, const x_group *x, lanes total[2], v8 *minima) {
  words32 a = first_bytes(p, 20 * blocks), b = first_bytes(p + 64, 20 * blocks - 64);
  __m512i codes = FOUR_CODES(a, b, 2, 10);
  v8 scales = FOUR_SCALES(a, b, 1, 10) * load8(x->units);
  *minima += scales;
  total[0] += floats_of(times_nibbles(codes, x)) * FOUR_LANES(scales, 0, 1, 2, 3);
}

// Four blocks of q5_0 or q5_1, whose fifth bits start at byte `fifth` of each block of `size` bytes; `codes` has their
// nibbles.
INLINE __m512i
times_five_bits(const uint8_t *p, const long size, const long fifth, long blocks, __m512i codes, const x_group *x) {
  // Of a block's 32 bits, the lower half belongs to the low nibbles and the upper half to the high ones.
  uint64_t low = 0, upper = 0;
#pragma clang loop unroll(full)
  for (int b = 0; b < 4; b++) {
    uint64_t bits = b < blocks ? word(p + b * size + fifth) : 0;
    low |= (bits & 0xFFFF) << 16 * b;
    upper |= bits >> 16 << 16 * b;
  }
  const __m512i sixteen = _mm512_set1_epi8(16);
  return times_both(
    nibbles(codes) | _mm512_maskz_mov_epi8(low, sixteen), high(codes) | _mm512_maskz_mov_epi8(upper, sixteen), x);
}

INLINE void add_q5_0(const uint8_t *p, long blocks, const x_group *x, lanes total[2]) {
  words32 a = first_bytes(p, 22 * blocks), b = first_bytes(p + 64, 22 * blocks - 64);
  __m512i codes = FOUR_CODES(a, b, 3, 11);
  v8 scales = FOUR_SCALES(a, b, 0, 11) * load8(x->units);
  __m512i sums = times_five_bits(p, 22, 2, blocks, codes, x);
  total[0] += floats_of(less_both_excesses(sums, x)) * FOUR_LANES(scales, 0, 1, 2, 3);
}

INLINE void add_q5_1(const uint8_t *p, long blocks, const x_group *x, lanes total[2], v8 *minima) {
  words32 a = first_bytes(p, 24 * blocks), b = first_bytes(p + 64, 24 * blocks - 64);
  __m512i codes = FOUR_CODES(a, b, 4, 12);
  v8 scales = FOUR_SCALES(a, b, 1, 12) * load8(x->units);
  *minima += scales;
  total[0] += floats_of(times_five_bits(p, 24, 4, blocks, codes, x)) * FOUR_LANES(scales, 0, 1, 2, 3);
}

// The codes of two blocks of q8_0; missing blocks are zero.
INLINE __m512i two_blocks(const uint8_t *p, long blocks) {
  __m256i first = blocks > 0 ? _mm256_loadu_si256((const __m256i *)(p + 2)) : _mm256_setzero_si256();
  __m256i second = blocks > 1 ? _mm256_loadu_si256((const __m256i *)(p + 36)) : _mm256_setzero_si256();
  return _mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1);
}

INLINE void add_q8_0(const uint8_t *p, long blocks, const x_group *x, lanes total[2]) {
  uint64_t halfs = load_u16(p);
  if (blocks > 1) halfs |= load_u16(p + 34) << 16;
  if (blocks > 2) halfs |= load_u16(p + 68) << 32;
  if (blocks > 3) halfs |= load_u16(p + 102) << 48;
  v8 scales = halves_to_floats((u16x8)_mm_cvtsi64_si128((long long)halfs)) * load8(x->units);
  const __m512i added = _mm512_set1_epi8((char)0x80);
  total[0] += floats_of(less_excess(two_blocks(p, blocks) ^ added, x, 0)) * EIGHT_LANES(scales, 0, 1);
  total[1] += floats_of(less_excess(two_blocks(p + 68, blocks - 2) ^ added, x, 1)) * EIGHT_LANES(scales, 2, 3);
}

// Blocks of 256 take two groups of 128 elements.

// Half a block of q4_K or, with fifth bits, q5_K.
INLINE void add_sub_blocks(
  const uint8_t *p, const bool has_fifth, const int half_of, const x_group *x, lanes total[2], v8 *minima) {
  // Four of the eight 6-bit scales and minimums, as scale_and_minimum reads them.
  uint32_t a = word(p + 4), b = word(p + 8), c = word(p + 12);
  uint32_t six_bits[2] = {a & 0x3f3f3f3f, b & 0x3f3f3f3f};
  if (half_of) {
    six_bits[0] = (c & 0x0f0f0f0f) | (a >> 6 & 0x03030303) << 4;
    six_bits[1] = (c >> 4 & 0x0f0f0f0f) | (b >> 6 & 0x03030303) << 4;
  }
  float d = load_half(p), dmin = load_half(p + 2);
  v8 scales =
    bytes_to_floats((const uint8_t *)six_bits) * (v8){d, d, d, d, -dmin, -dmin, -dmin, -dmin} * load8(x->units);
  *minima += scales;
  __m512i codes = bytes64(p + (has_fifth ? 48 : 16) + 64 * half_of), low = nibbles(codes), upper = high(codes);
  if (has_fifth) {
    // A byte has one bit for each of the eight sub-blocks. The low nibbles are those of sub-blocks 0 and 2 of this
    // half.
    __m512i bits = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(p + 16)));
    const int first = 1 << 4 * half_of;
    const __m512i even = _mm512_inserti64x4(_mm512_set1_epi8((char)first), _mm256_set1_epi8((char)(first << 2)), 1);
    const __m512i odd =
      _mm512_inserti64x4(_mm512_set1_epi8((char)(first << 1)), _mm256_set1_epi8((char)(first << 3)), 1);
    const __m512i sixteen = _mm512_set1_epi8(16);
    low |= _mm512_maskz_mov_epi8(_mm512_test_epi8_mask(bits, even), sixteen);
    upper |= _mm512_maskz_mov_epi8(_mm512_test_epi8_mask(bits, odd), sixteen);
  }
  total[0] += floats_of(times_digits(low, x->digits[0])) * EIGHT_LANES(scales, 0, 2);
  total[1] += floats_of(times_digits(upper, x->digits[1])) * EIGHT_LANES(scales, 1, 3);
}

INLINE void add_half_q6_K(const uint8_t *p, long half_of, const x_group *x, lanes total[2]) {
  // One scale per 16 elements, one unit of x per 32.
  v8 units = load8(x->units);
  units = __builtin_shufflevector(units, units, 0, 0, 1, 1, 2, 2, 3, 3);
  v8 scales = signed_bytes((const int8_t *)p + 192 + 8 * half_of) * load_half(p + 208) * units;
  __m512i low = bytes64(p + 64 * half_of);
  __m512i upper = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(p + 128 + 32 * half_of)));
  // The upper two bits of each code: the lowest two of a byte for the first 32, and so on.
  const __m512i two_bits = _mm512_set1_epi8(0x30);
  const __m512i left = _mm512_inserti64x4(_mm512_set1_epi16(4), _mm256_set1_epi16(2), 1);
  const __m512i right = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(2), 1);
  __m512i first = nibbles(low) | (_mm512_sllv_epi16(upper, left) & two_bits);
  __m512i second = high(low) | (_mm512_srlv_epi16(upper, right) & two_bits);
  total[0] += floats_of(less_excess(first, x, 0)) * FOUR_LANES(scales, 0, 1, 2, 3);
  total[1] += floats_of(less_excess(second, x, 1)) * FOUR_LANES(scales, 4, 5, 6, 7);
}

INLINE float sum_of(lanes total[2], v8 minima) {
  return _mm512_reduce_add_ps((__m512)(total[0] + total[1])) + ((minima[4] + minima[5]) + (minima[6] + minima[7]));
}

// The most rows of activations that a row of the matrix is multiplied by at once.
enum { dot_inputs_512 = 4 };

// The dot products of a row of the matrix with `inputs` rows of activations, `stride` floats apart, which share the
// decoding of its codes. STEP handles `elements` elements in `size` bytes at p, of which `blocks` blocks of 32 exist.
#define INTEGER_DOTS_512(format, elements, size, step)                                           \
  INLINE void integer_dots_##format(                                                             \
    const int inputs, const float *prepared, long stride, stored_row row, long k, float *sums) { \
    lanes totals[dot_inputs_512][2] = {};                                                        \
    v8 all_minima[dot_inputs_512] = {};                                                          \
    const uint8_t *p = row.bytes;                                                                \
    long blocks = elements / 32, i = 0;                                                          \
    for (; i + elements <= k; i += elements, p += size) {                                        \
      prefetch(p, size);                                                                         \
      FOR_INPUTS(step)                                                                           \
    }                                                                                            \
    blocks = k % elements / 32;                                                                  \
    if (blocks) {                                                                                \
      FOR_INPUTS(step)                                                                           \
    }                                                                                            \
    for (int j = 0; j < inputs; j++) sums[j] = sum_of(totals[j], all_minima[j]);                 \
  }
#define FOR_INPUTS(step)                                                     \
  _Pragma("clang loop unroll(full)") for (int j = 0; j < inputs; j++) {      \
    const x_group *x = (const x_group *)(prepared + j * stride) + i / group; \
    lanes *total = totals[j];                                                \
    v8 *minima = all_minima + j;                                             \
    (void)minima;                                                            \
    step;                                                                    \
  }
INTEGER_DOTS_512(q4_0, 128, 72, add_q4_0(p, blocks, x, total))
INTEGER_DOTS_512(q4_1, 128, 80, add_q4_1(p, blocks, x, total, minima))
INTEGER_DOTS_512(q5_0, 128, 88, add_q5_0(p, blocks, x, total))
INTEGER_DOTS_512(q5_1, 128, 96, add_q5_1(p, blocks, x, total, minima))
INTEGER_DOTS_512(q8_0, 128, 136, add_q8_0(p, blocks, x, total))
INTEGER_DOTS_512(q4_K, 256, 144, add_sub_blocks(p, false, 0, x, total, minima);
                 add_sub_blocks(p, false, 1, x + 1, total, minima))
INTEGER_DOTS_512(q5_K, 256, 176, add_sub_blocks(p, true, 0, x, total, minima);
                 add_sub_blocks(p, true, 1, x + 1, total, minima))
INTEGER_DOTS_512(q6_K, 256, 210, add_half_q6_K(p, 0, x, total); add_half_q6_K(p, 1, x + 1, total))
#undef FOR_INPUTS
#endif
