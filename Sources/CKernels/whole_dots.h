// Dot products in whole numbers, for few rows against formats whose codes are bytes or nibbles, on processors that add up
// products of bytes (AVX-512 VNNI). Each 32 elements of x become whole numbers in units of their largest one / (127 · 2¹⁶),
// as fine as a float's own precision, written as three digits to the base 256. A block's codes times the digits add up
// without any error; one multiplication by the scales of both makes a float of the sum.

// A row of x, prepared by ck_prepare_few_rows: for every 32 elements their sum and, for the formats of this file, the unit;
// and for every 64 elements their digits, 64 of the highest first.
typedef struct {
  const float *x, *sums, *units;
  const uint8_t *digits;
} prepared_row;

enum { digit_bytes = 3 * 64 };

INLINE long padded_blocks(long k) { return (k / 32 + 7) / 8 * 8; }

INLINE bool is_whole(ck_format format) {
#ifdef CK_VNNI
  return format == ck_q4_0 || format == ck_q4_1 || format == ck_q8_0 || format == ck_q4_K || format == ck_q6_K;
#else
  return false;
#endif
}

long CK(ck_prepared_count)(ck_format format, long k) {
  return padded_blocks(k) * (is_whole(format) ? 2 : 1) + (is_whole(format) ? k / 64 * digit_bytes / 4 : 0);
}

INLINE prepared_row prepared(const float *x, const float *memory, long k) {
  const float *units = memory + padded_blocks(k);
  return (prepared_row){x, memory, units, (const uint8_t *)(units + padded_blocks(k))};
}

#ifdef CK_VNNI
// The nibbles of q4_0 and q4_1 lie in halves of 16 elements: the digits of 64 elements as the low nibbles of two blocks
// come, then the high ones.
INLINE long digit_place(ck_format format, long element) {
  bool in_halves = format == ck_q4_0 || format == ck_q4_1;
  long in_unit = element % 64, place = in_halves ? in_unit / 16 % 2 * 32 + in_unit / 32 * 16 : in_unit;
  return element / 64 * digit_bytes + place;
}

// Sixteen elements' digits. Codes that are unsigned bytes take signed digits; signed ones take unsigned digits, but the
// highest, which is 128 too large.
INLINE void write_digits(const float *x, float per_unit, bool is_signed, uint8_t *out) {
  __m512i whole = _mm512_cvtps_epi32(_mm512_loadu_ps(x) * _mm512_set1_ps(per_unit));
  whole = _mm512_add_epi32(whole, _mm512_set1_epi32(is_signed ? 0x808080 : 0x800000));
  __m128i offset = _mm_set1_epi8(is_signed ? (char)0x80 : 0);
  _mm_storeu_si128((__m128i *)out, _mm512_cvtepi32_epi8(_mm512_srli_epi32(whole, 16)) ^ offset);
  _mm_storeu_si128((__m128i *)(out + 64), _mm512_cvtepi32_epi8(_mm512_srli_epi32(whole, 8)) ^ offset);
  _mm_storeu_si128((__m128i *)(out + 128), _mm512_cvtepi32_epi8(whole) ^ offset);
}
#endif

void CK(ck_prepare_few_rows)(const float *x, long ldx, long m, ck_format format, long k, float *out) {
  for (long i = 0; i < m; i++, x += ldx, out += CK(ck_prepared_count)(format, k)) {
    for (long b = 0; b < k / 32; b++) {
      const float *p = x + 32 * b;
      out[b] = sum8((load8(p) + load8(p + 8)) + (load8(p + 16) + load8(p + 24)));
    }
#ifdef CK_VNNI
    if (!is_whole(format)) continue;
    float *units = out + padded_blocks(k);
    uint8_t *digits = (uint8_t *)(units + padded_blocks(k));
    bool is_signed = format == ck_q4_0 || format == ck_q4_1 || format == ck_q4_K;
    for (long b = 0; b < k / 64 * 2; b++) {
      const float *p = x + 32 * b;
      float largest = _mm512_reduce_max_ps(
        _mm512_max_ps(_mm512_abs_ps(_mm512_loadu_ps(p)), _mm512_abs_ps(_mm512_loadu_ps(p + 16))));
      float per_unit = largest > 1e-30f ? 8323072 / largest : 0;
      // What is not finite makes the sum, and so the unit, not a number.
      units[b] = largest / 8323072 + (out[b] - out[b]);
      for (long e = 32 * b; e < 32 * b + 32; e += 16)
        write_digits(x + e, per_unit, is_signed, digits + digit_place(format, e));
    }
#endif
  }
}

#ifdef CK_VNNI
INLINE __m256i bytes32(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }
INLINE __m256i nibbles(__m256i x) { return x & _mm256_set1_epi8(15); }
INLINE __m256i high(__m256i x) { return nibbles(_mm256_srli_epi16(x, 4)); }
INLINE uint32_t word(const uint8_t *p) {
  uint32_t bits;
  memcpy(&bits, p, 4);
  return bits;
}

// Sums of four products of unsigned codes and x, in x's units.
INLINE v8 times_signed(__m256i codes, const uint8_t *digits) {
  __m256i sum = _mm256_dpbusd_epi32(_mm256_setzero_si256(), codes, bytes32(digits));
  sum = _mm256_dpbusd_epi32(_mm256_slli_epi32(sum, 8), codes, bytes32(digits + 64));
  return (v8)_mm256_cvtepi32_ps(_mm256_dpbusd_epi32(_mm256_slli_epi32(sum, 8), codes, bytes32(digits + 128)));
}

// The same of two sets of codes, at most 15, added.
INLINE v8 times_signed2(__m256i a, __m256i b, const uint8_t *digits) {
  __m256i sum = _mm256_setzero_si256();
#pragma clang loop unroll(full)
  for (int digit = 0; digit < 3; digit++) {
    sum = _mm256_dpbusd_epi32(_mm256_slli_epi32(sum, 8), a, bytes32(digits + 64 * digit));
    sum = _mm256_dpbusd_epi32(sum, b, bytes32(digits + 64 * digit + 32));
  }
  return (v8)_mm256_cvtepi32_ps(sum);
}

// The same of signed codes. Together the digits would not fit into 32 bits.
INLINE v8 times_unsigned(__m256i codes, const uint8_t *digits) {
  const __m256i zero = _mm256_setzero_si256();
  __m256i highest = _mm256_sub_epi32(
    _mm256_dpbusd_epi32(zero, bytes32(digits), codes),
    _mm256_dpbusd_epi32(zero, _mm256_set1_epi8((char)128), codes));
  __m256i rest = _mm256_slli_epi32(_mm256_dpbusd_epi32(zero, bytes32(digits + 64), codes), 8);
  rest = _mm256_dpbusd_epi32(rest, bytes32(digits + 128), codes);
  return (v8)_mm256_cvtepi32_ps(highest) * 65536.0f + (v8)_mm256_cvtepi32_ps(rest);
}

INLINE v8 spread(v8 x, i8x lanes) { return (v8)_mm256_permutevar8x32_ps((__m256)x, (__m256i)lanes); }

// Each adds up whole units of 64 elements (256 for K-quants), or what is in them, and returns how many elements those are.
// Where there are two blocks' scales and minima, the products with x's units and sums lie in turn.
INLINE long whole_dot_q4(const bool has_minimum, const uint8_t *p, long k, prepared_row x, v8 *total, float *rest) {
  const long header = has_minimum ? 4 : 2, block = header + 16;
  __m128 minima = _mm_setzero_ps();
  long i = 0;
  for (; i + 64 <= k; i += 64, p += 2 * block) {
    __builtin_prefetch(p + 2048);
    __m256i codes = _mm256_inserti128_si256(
      _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(p + header))),
      _mm_loadu_si128((const __m128i *)(p + block + header)), 1);
    v8 sums = times_signed2(nibbles(codes), high(codes), x.digits + i * 3);
    __m128i halves = _mm_insert_epi32(_mm_cvtsi32_si128(word(p)), word(p + block), 1);
    if (!has_minimum) halves = _mm_shufflelo_epi16(halves, 0xA0);  // the scale twice
    __m128 both = _mm_unpacklo_ps(
      _mm_castsi128_ps(_mm_loadl_epi64((const __m128i *)(x.units + i / 32))),
      _mm_castsi128_ps(_mm_loadl_epi64((const __m128i *)(x.sums + i / 32))));
    both *= _mm_cvtph_ps(halves);
    minima += both;
    *total += sums * spread((v8)_mm256_castps128_ps256(both), (i8x){0, 0, 0, 0, 2, 2, 2, 2});
  }
  *rest += (has_minimum ? 1 : -8) * (minima[1] + minima[3]);
  return i;
}

INLINE long whole_dot_q8_0(const uint8_t *p, long k, prepared_row x, v8 *total) {
  long i = 0;
  for (; i + 64 <= k; i += 64)
    for (long j = 0; j < 2; j++, p += 34) {
      __builtin_prefetch(p + 2048);
      *total += times_unsigned(bytes32(p + 2), x.digits + i * 3 + 32 * j) * (half(p) * x.units[i / 32 + j]);
    }
  return i;
}

INLINE long whole_dot_q4_K(const uint8_t *p, long k, prepared_row x, v8 *total, float *rest) {
  v8 minima = splat8(0);
  for (long i = 0; i < k; i += 256, p += 144) {
    // Eight scales and minima of six bits, as scale_and_minimum reads them.
    uint32_t a = word(p + 4), b = word(p + 8), c = word(p + 12);
    uint32_t scales[2] = {a & 0x3f3f3f3f, (c & 0x0f0f0f0f) | (a >> 6 & 0x03030303) << 4};
    uint32_t low[2] = {b & 0x3f3f3f3f, (c >> 4 & 0x0f0f0f0f) | (b >> 6 & 0x03030303) << 4};
    v8 scale = bytes_to_floats((const uint8_t *)scales) * half(p) * load8(x.units + i / 32);
    minima += bytes_to_floats((const uint8_t *)low) * half(p + 2) * load8(x.sums + i / 32);
#pragma clang loop unroll(full)
    for (int s = 0; s < 8; s += 2) {
      __builtin_prefetch(p + 2048 + 16 * s);
      __m256i codes = bytes32(p + 16 + 16 * s);
      const uint8_t *digits = x.digits + (i + 32 * s) * 3;
      *total += times_signed(nibbles(codes), digits) * splat8(scale[s]);
      *total += times_signed(high(codes), digits + 32) * splat8(scale[s + 1]);
    }
  }
  *rest -= sum8(minima);
  return k;
}

INLINE long whole_dot_q6_K(const uint8_t *p, long k, prepared_row x, v8 *total) {
  for (long i = 0; i < k; i += 256, p += 210) {
    float d = half(p + 208);
#pragma clang loop unroll(full)
    for (int s = 0; s < 8; s++) {
      __builtin_prefetch(p + 2048 + 32 * s);
      __m256i low = bytes32(p + 64 * (s / 4) + 32 * (s % 2)), upper = bytes32(p + 128 + 32 * (s / 4));
      low = s % 4 < 2 ? nibbles(low) : high(low);
      upper = _mm256_srli_epi16(upper, 2 * (s % 4)) & _mm256_set1_epi8(3);
      __m256i codes = _mm256_sub_epi8(low | _mm256_slli_epi16(upper, 4), _mm256_set1_epi8(32));
      float unit = d * x.units[i / 32 + s], first = (int8_t)p[192 + 2 * s] * unit, second = (int8_t)p[193 + 2 * s] * unit;
      v8 scale = (v8){first, first, first, first, second, second, second, second};
      *total += times_unsigned(codes, x.digits + (i + s / 2 * 64) * 3 + 32 * (s % 2)) * scale;
    }
  }
  return k;
}
#endif

// What the formats of this file have, up to the number of elements returned.
INLINE long whole_dot(stored_row row, long k, prepared_row x, v8 *total, float *rest) {
#ifdef CK_VNNI
  switch (row.matrix->format) {
    case ck_q4_0: return whole_dot_q4(false, row.bytes, k, x, total, rest);
    case ck_q4_1: return whole_dot_q4(true, row.bytes, k, x, total, rest);
    case ck_q8_0: return whole_dot_q8_0(row.bytes, k, x, total);
    case ck_q4_K: return whole_dot_q4_K(row.bytes, k, x, total, rest);
    case ck_q6_K: return whole_dot_q6_K(row.bytes, k, x, total);
    default: break;
  }
#endif
  return 0;
}
