// Integer dot products with 512-bit vectors (AVX-512 VNNI); see integer_dot.h. A lane belongs to one of 16 rows of the
// matrix: their blocks are decoded to vectors of four adjacent codes of each row, which all rows of activations share,
// and multiplied by digits broadcast to all lanes. The products of a block add up in its row's lane.

#ifdef CK_VNNI
// 32 elements of x: digits, most significant first; what sums of digits begin with, for the first 16 elements (or all)
// and the rest, in units of 2^16 and of 1, so that the offset of the stored codes cancels out; unit and sum.
typedef struct {
  int32_t digits[3][8];
  int32_t upper_start[2], lower_start[2];
  float unit, sum;
  int32_t unused[2];
} x_group;

enum { group = 32 };

// A block of 32 elements in 16 rows of the matrix: vector i has codes 4 i to 4 i + 3 of each row. The second scales are
// those of the last 16 elements (q6_K), or minimums.
typedef struct {
  __m512i codes[8];
  lanes scales, second;
} decoded_block;

// Rows of the matrix and of activations that are multiplied at once; elements that are decoded at once.
enum { matrix_rows_512 = 16, dot_inputs_512 = 8, chunk_512 = 256 };

// ---- Activations

INLINE void write_digits(const float *x, float per_unit, x_group *out, long place, int32_t sums[3]) {
  __m512i whole = _mm512_cvtps_epi32(_mm512_loadu_ps(x) * _mm512_set1_ps(per_unit));
  whole = _mm512_add_epi32(whole, _mm512_set1_epi32(0x808080));
#pragma clang loop unroll(full)
  for (int digit = 0; digit < 3; digit++) {
    __m128i from_zero = _mm512_cvtepi32_epi8(_mm512_srli_epi32(whole, 16 - 8 * digit));
    __m128i bytes = from_zero ^ _mm_set1_epi8((char)0x80);
    _mm_storeu_si128((__m128i *)(out->digits[digit] + place), bytes);
    // The sum of absolute differences from zero adds up unsigned bytes.
    __m128i sum = _mm_sad_epu8(from_zero, _mm_setzero_si128());
    sums[digit] = _mm_cvtsi128_si32(sum) + _mm_extract_epi32(sum, 2) - 16 * 128;
  }
}

INLINE void prepare_integer_dot(const float *x, long k, ck_format format, void *memory) {
  const float most = 127 << 16;
  const int64_t added = code_offset(format);
  const bool has_halves = format == ck_q6_K;
  x_group *out = memory;
  for (long e = 0; e < k; e += group, out++) {
    __m512 first = _mm512_loadu_ps(x + e), second = _mm512_loadu_ps(x + e + 16);
    float largest = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(first), _mm512_abs_ps(second)));
    float per_unit = largest > 1e-30f ? most / largest : 0, sum = _mm512_reduce_add_ps(first + second);
    out->sum = sum;
    // NaN if an element is not finite.
    out->unit = largest * (1 / most) + (sum - sum);
    int64_t excess[2];
    for (int half = 0; half < 2; half++) {
      int32_t sums[3];
      write_digits(x + e + 16 * half, per_unit, out, 4 * half, sums);
      excess[half] = added * ((int64_t)sums[0] * 65536 + sums[1] * 256 + sums[2]);
    }
    if (!has_halves) excess[0] += excess[1];
    for (int half = 0; half < 2; half++) {
      out->upper_start[half] = (int32_t) - (excess[half] >> 16);
      out->lower_start[half] = (int32_t) - (excess[half] & 0xFFFF);
    }
    out->unused[0] = out->unused[1] = 0;
  }
}

// ---- Codes

// Four words of 16 rows, `stride` bytes apart; words that `exist` doesn't have are zero.
INLINE void load_words(const uint8_t *p, long stride, __mmask8 exist, __m512i out[4]) {
  __m512i rows[4];
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) {
    __m128i four[4];
#pragma clang loop unroll(full)
    for (int j = 0; j < 4; j++) {
      const uint8_t *from = p + (4 * j + i) * stride;
      four[j] = exist == 15 ? _mm_loadu_si128((const __m128i *)from) : _mm_maskz_loadu_epi32(exist, from);
    }
    __m512i all = _mm512_inserti32x4(_mm512_castsi128_si512(four[0]), four[1], 1);
    rows[i] = _mm512_inserti32x4(_mm512_inserti32x4(all, four[2], 2), four[3], 3);
  }
  __m512i a = _mm512_unpacklo_epi32(rows[0], rows[1]), b = _mm512_unpacklo_epi32(rows[2], rows[3]);
  __m512i c = _mm512_unpackhi_epi32(rows[0], rows[1]), d = _mm512_unpackhi_epi32(rows[2], rows[3]);
  out[0] = _mm512_unpacklo_epi64(a, b);
  out[1] = _mm512_unpackhi_epi64(a, b);
  out[2] = _mm512_unpacklo_epi64(c, d);
  out[3] = _mm512_unpackhi_epi64(c, d);
}

// The first `bytes` bytes of 16 rows, a multiple of four or two more, as words.
INLINE void load_rows(const uint8_t *p, long stride, long bytes, __m512i *words) {
  long i = 0;
  for (; i + 16 <= bytes; i += 16, words += 4) load_words(p + i, stride, 15, words);
  if (bytes - i >= 4)
    load_words(p + i, stride, (__mmask8)((1 << (bytes - i) / 4) - 1), words), words += (bytes - i) / 4;
  if (bytes % 4 == 0) return;
  uint32_t last[matrix_rows_512];
  for (long row = 0; row < matrix_rows_512; row++) last[row] = (uint32_t)load_u16(p + row * stride + bytes - 2);
  *words = _mm512_loadu_si512(last);
}

INLINE __m512i low_codes(__m512i x) { return x & _mm512_set1_epi8(15); }
INLINE __m512i high_codes(__m512i x) { return low_codes(_mm512_srli_epi16(x, 4)); }

// The four bytes from byte `i` on, which is even.
INLINE __m512i bytes_at(const __m512i *words, const int i) {
  if (i % 4 == 0) return words[i / 4];
  // The halves of both words that belong to it, and these the other way around.
  __m512i halves = _mm512_mask_blend_epi16(0x55555555, words[i / 4], words[i / 4 + 1]);
  return _mm512_rol_epi32(halves, 16);
}

// The float16 at byte `i`.
INLINE lanes half_at(const __m512i *words, const int i) {
  __m512i word = i % 4 ? _mm512_srli_epi32(words[i / 4], 16) : words[i / 4];
  return (lanes)_mm512_cvtph_ps(_mm512_cvtepi32_epi16(word));
}

INLINE lanes floats_of(__m512i x) { return (lanes)_mm512_cvtepi32_ps(x); }

// A block whose nibbles are at byte `i`: the low ones of 16 bytes, then the high ones.
INLINE void decode_nibbles(const __m512i *words, const int i, decoded_block *out) {
#pragma clang loop unroll(full)
  for (int j = 0; j < 4; j++) {
    __m512i bytes = bytes_at(words, i + 4 * j);
    out->codes[j] = low_codes(bytes);
    out->codes[4 + j] = high_codes(bytes);
  }
}

// Adds the fifth bits, of which `bits` has one for each element.
INLINE void add_fifth_bits(__m512i bits, decoded_block *out) {
  const __m512i spread = _mm512_setr_epi32(
    0, 0x10, 0x1000, 0x1010, 0x100000, 0x100010, 0x101000, 0x101010, 0x10000000, 0x10000010, 0x10001000, 0x10001010,
    0x10100000, 0x10100010, 0x10101000, 0x10101010);
#pragma clang loop unroll(full)
  for (int j = 0; j < 8; j++) out->codes[j] |= _mm512_permutexvar_epi32(_mm512_srli_epi32(bits, 4 * j), spread);
}

// Each of these decodes two blocks of 32, or one of 256.

// q4_0 and its relatives: scale, minimum and fifth bits as far as the format has them, then the nibbles.
INLINE void decode_nibble_blocks(
  const __m512i *words, const bool has_minimum, const bool has_fifth, decoded_block *out) {
  const int fifth = has_minimum ? 4 : 2, codes = fifth + (has_fifth ? 4 : 0), size = codes + 16;
#pragma clang loop unroll(full)
  for (int b = 0; b < 2; b++) {
    out[b].scales = half_at(words, size * b);
    if (has_minimum) out[b].second = half_at(words, size * b + 2);
    decode_nibbles(words, size * b + codes, out + b);
    if (has_fifth) add_fifth_bits(bytes_at(words, size * b + fifth), out + b);
  }
}
INLINE void decode_q4_0(const __m512i *words, decoded_block *out) { decode_nibble_blocks(words, false, false, out); }
INLINE void decode_q4_1(const __m512i *words, decoded_block *out) { decode_nibble_blocks(words, true, false, out); }
INLINE void decode_q5_0(const __m512i *words, decoded_block *out) { decode_nibble_blocks(words, false, true, out); }
INLINE void decode_q5_1(const __m512i *words, decoded_block *out) { decode_nibble_blocks(words, true, true, out); }

INLINE void decode_q8_0(const __m512i *words, decoded_block *out) {
#pragma clang loop unroll(full)
  for (int b = 0; b < 2; b++) {
    out[b].scales = half_at(words, 34 * b);
#pragma clang loop unroll(full)
    for (int j = 0; j < 8; j++) out[b].codes[j] = bytes_at(words, 34 * b + 2 + 4 * j) ^ _mm512_set1_epi8((char)0x80);
  }
}

// q4_K, or with fifth bits q5_K.
INLINE void decode_sub_blocks(const __m512i *words, const bool has_fifth, decoded_block *out) {
  const lanes d = half_at(words, 0), dmin = half_at(words, 2);
  // The 6-bit scales and minimums as bytes, as scale_and_minimum reads them.
  const __m512i six = _mm512_set1_epi32(0x3f3f3f3f), four = _mm512_set1_epi32(0x0f0f0f0f);
  const __m512i two = _mm512_set1_epi32(0x30303030), byte = _mm512_set1_epi32(255);
  const __m512i a = words[1], b = words[2], c = words[3];
  const __m512i scales[2] = {a & six, (c & four) | (_mm512_srli_epi32(a, 2) & two)};
  const __m512i minima[2] = {b & six, (_mm512_srli_epi32(c, 4) & four) | (_mm512_srli_epi32(b, 2) & two)};
#pragma clang loop unroll(full)
  for (int s = 0; s < 8; s++, out++) {
    out->scales = d * floats_of(_mm512_srli_epi32(scales[s / 4], 8 * (s % 4)) & byte);
    out->second = -dmin * floats_of(_mm512_srli_epi32(minima[s / 4], 8 * (s % 4)) & byte);
#pragma clang loop unroll(full)
    for (int j = 0; j < 8; j++) {
      __m512i bytes = words[(has_fifth ? 12 : 4) + 8 * (s / 2) + j];
      out->codes[j] = s % 2 ? high_codes(bytes) : low_codes(bytes);
      if (has_fifth) {
        // A byte has one bit for each of the eight sub-blocks.
        __m512i bits = words[4 + j];
        bits = s < 4 ? _mm512_slli_epi32(bits, s < 4 ? 4 - s : 0) : _mm512_srli_epi32(bits, s < 4 ? 0 : s - 4);
        out->codes[j] |= bits & _mm512_set1_epi8(16);
      }
    }
  }
}
INLINE void decode_q4_K(const __m512i *words, decoded_block *out) { decode_sub_blocks(words, false, out); }
INLINE void decode_q5_K(const __m512i *words, decoded_block *out) { decode_sub_blocks(words, true, out); }

INLINE void decode_q6_K(const __m512i *words, decoded_block *out) {
  const lanes d = half_at(words, 208);
#pragma clang loop unroll(full)
  for (int s = 0; s < 8; s++, out++) {
    // One signed scale per 16 elements.
    __m512i scales = _mm512_slli_epi32(words[48 + s / 2], s % 2 ? 0 : 16);
    out->scales = d * floats_of(_mm512_srai_epi32(_mm512_slli_epi32(scales, 8), 24));
    out->second = d * floats_of(_mm512_srai_epi32(scales, 24));
#pragma clang loop unroll(full)
    for (int j = 0; j < 8; j++) {
      // The upper two bits of each code: the lowest two of a byte for the first 32 of 128 elements, and so on.
      const int place = s % 4;
      __m512i low = words[16 * (s / 4) + 8 * (place % 2) + j], upper = words[32 + 8 * (s / 4) + j];
      upper = place < 2 ? _mm512_slli_epi32(upper, place < 2 ? 4 - 2 * place : 0)
                        : _mm512_srli_epi32(upper, place < 2 ? 0 : 2 * place - 4);
      out->codes[j] = (place < 2 ? low_codes(low) : high_codes(low)) | (upper & _mm512_set1_epi8(0x30));
    }
  }
}

// ---- Products

// What a decoded block has in `second`.
enum second_scales { no_second, minima_second, halves_second };

// Adds the products of a decoded block with `inputs` rows of activations, `stride` groups apart, to `totals`.
INLINE void add_block_products(
  const int inputs, const enum second_scales kind, const decoded_block *block, const x_group *x, long stride,
  lanes *totals) {
  // As many sums at once as hide an instruction's latency.
  enum { most = 4 };
#pragma clang loop unroll(full)
  for (int first = 0; first < inputs; first += most) {
    const int count = inputs - first < most ? inputs - first : most, halves = kind == halves_second ? 2 : 1;
#pragma clang loop unroll(full)
    for (int half = 0; half < halves; half++) {
      const int begin = half * 4, end = kind == halves_second ? begin + 4 : 8;
      // Sums with the first two digits and with the last one: together they would not fit into 32 bits.
      __m512i upper[most], lower[most];
#pragma clang loop unroll(full)
      for (int i = 0; i < count; i++) {
        // Formats with minimums have codes without an offset.
        const bool starts = kind != minima_second;
        upper[i] = starts ? _mm512_set1_epi32(x[(first + i) * stride].upper_start[half]) : _mm512_setzero_si512();
        lower[i] = starts ? _mm512_set1_epi32(x[(first + i) * stride].lower_start[half]) : _mm512_setzero_si512();
      }
#pragma clang loop unroll(full)
      for (int digit = 0; digit < 3; digit++) {
#pragma clang loop unroll(full)
        for (int j = begin; j < end; j++)
#pragma clang loop unroll(full)
          for (int i = 0; i < count; i++) {
            __m512i digits = _mm512_set1_epi32(x[(first + i) * stride].digits[digit][j]);
            if (digit < 2) upper[i] = _mm512_dpbusd_epi32(upper[i], block->codes[j], digits);
            else lower[i] = _mm512_dpbusd_epi32(lower[i], block->codes[j], digits);
          }
        if (digit == 0)
#pragma clang loop unroll(full)
          for (int i = 0; i < count; i++) upper[i] = _mm512_slli_epi32(upper[i], 8);
      }
#pragma clang loop unroll(full)
      for (int i = 0; i < count; i++) {
        const x_group *from = x + (first + i) * stride;
        __m512 total = (__m512)totals[first + i];
        __m512 sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(upper[i]), _mm512_set1_ps(256), _mm512_cvtepi32_ps(lower[i]));
        sum = _mm512_mul_ps(sum, _mm512_set1_ps(from->unit));
        total = _mm512_fmadd_ps(sum, (__m512)(half ? block->second : block->scales), total);
        if (kind == minima_second) total = _mm512_fmadd_ps(_mm512_set1_ps(from->sum), (__m512)block->second, total);
        totals[first + i] = (lanes)total;
      }
    }
  }
}

// Prefetches what is read three tiles of 16 rows further on, a little at a time. Into the second-level cache: loads for
// all rows of a tile and for prefetching would take the first level's buffers from each other.
enum { tiles_ahead_512 = 3 };
INLINE void prefetch_512(const uint8_t *p, long bytes) {
  for (long line = 0; line < bytes; line += 64) __builtin_prefetch(p + line, 0, 2);
}

// The dot products of 16 rows of the matrix, `stride` bytes apart, with `inputs` prepared rows. `elements` elements
// have `size` bytes. Blocks of 32 are decoded in pairs and stay in registers.
#define INTEGER_DOTS_512(format, elements, size, kind)                                                 \
  INLINE void integer_dots_##format(                                                                   \
    const int inputs, const x_group *x, const uint8_t *rows, long stride, long k, lanes *totals) {     \
    enum { parts = chunk_512 / (elements), part_blocks = (elements) / 32 };                            \
    const uint8_t *next = rows + tiles_ahead_512 * matrix_rows_512 * stride;                           \
    for (int i = 0; i < inputs; i++) totals[i] = splat(0);                                             \
    for (long e = 0; e < k; e += chunk_512, rows += parts * (size)) {                                  \
      __m512i words[(parts * (size) + 3) / 4 + 3];                                                     \
      const long blocks = k - e < chunk_512 ? (k - e) / 32 : chunk_512 / 32;                           \
      if (blocks == chunk_512 / 32) {                                                                  \
        load_rows(rows, stride, parts *(size), words);                                                 \
      } else {                                                                                         \
        if (blocks % part_blocks) memset(words, 0, sizeof words);                                      \
        load_rows(rows, stride, blocks *(size) / part_blocks, words);                                  \
      }                                                                                                \
      for (long b = 0; b < blocks; b += part_blocks) {                                                 \
        const x_group *from = x + e / 32 + b;                                                          \
        decoded_block decoded[part_blocks];                                                            \
        prefetch_512(next, matrix_rows_512 *(size));                                                   \
        next += matrix_rows_512 * (size);                                                              \
        decode_##format(words + b / part_blocks * (size) / 4, decoded);                                \
        if (part_blocks == 2) {                                                                        \
          add_block_products(inputs, kind, decoded, from, k / 32, totals);                             \
          if (b + 1 < blocks) add_block_products(inputs, kind, decoded + 1, from + 1, k / 32, totals); \
        } else {                                                                                       \
          for (long j = 0; j < part_blocks; j++)                                                       \
            add_block_products(inputs, kind, decoded + j, from + j, k / 32, totals);                   \
        }                                                                                              \
      }                                                                                                \
    }                                                                                                  \
  }
INTEGER_DOTS_512(q4_0, 64, 36, no_second)
INTEGER_DOTS_512(q4_1, 64, 40, minima_second)
INTEGER_DOTS_512(q5_0, 64, 44, no_second)
INTEGER_DOTS_512(q5_1, 64, 48, minima_second)
INTEGER_DOTS_512(q8_0, 64, 68, no_second)
INTEGER_DOTS_512(q4_K, 256, 144, minima_second)
INTEGER_DOTS_512(q5_K, 256, 176, minima_second)
INTEGER_DOTS_512(q6_K, 256, 210, halves_second)
#endif
