// Operand layouts for the GEMM microkernel. The left operand (float32) is packed into tiles of `tile_rows` rows, the
// right operand (any storage format) is dequantized into panels of `panel_columns` columns. Both consist of 32-bit
// words: one float, or with `pairs` two bfloat16 that are adjacent along k, for targets that multiply those directly.

enum { tile_rows = TILE_ROWS, panel_columns = 2 * LANES, max_words = 192 };

#ifdef CK_BFLOAT16
enum { has_pairs = true };

#if defined(__aarch64__)
INLINE float32x4_t quarter(v8 x, const int i) {
  return i ? (float32x4_t)__builtin_shufflevector(x, x, 4, 5, 6, 7)
           : (float32x4_t)__builtin_shufflevector(x, x, 0, 1, 2, 3);
}
INLINE v8 both_quarters(float32x4_t a, float32x4_t b) { return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7); }

INLINE u16x8 to_bfloat16(v8 x) { return (u16x8)vcvtq_high_bf16_f32(vcvtq_low_bf16_f32(quarter(x, 0)), quarter(x, 1)); }

INLINE lanes add_pair_products(lanes sum, lanes x, lanes y) {
  float32x4_t low = vbfdotq_f32(quarter(sum, 0), (bfloat16x8_t)quarter(x, 0), (bfloat16x8_t)quarter(y, 0));
  return both_quarters(low, vbfdotq_f32(quarter(sum, 1), (bfloat16x8_t)quarter(x, 1), (bfloat16x8_t)quarter(y, 1)));
}
#else
INLINE u16x8 to_bfloat16(v8 x) { return (u16x8)_mm256_cvtneps_pbh((__m256)x); }

INLINE lanes add_pair_products(lanes sum, lanes x, lanes y) {
  return (lanes)_mm512_dpbf16_ps((__m512)sum, (__m512bh)x, (__m512bh)y);
}
#endif

// Rounds 16 floats that are adjacent along k to eight pairs (to nearest even).
INLINE v8 pair_along(v8 first, v8 second) {
#if defined(__aarch64__)
  return (v8)__builtin_shufflevector(
    to_bfloat16(first), to_bfloat16(second), 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#else
  return (v8)_mm512_cvtneps_pbh(
    (__m512)__builtin_shufflevector(first, second, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
#endif
}

// Combines eight floats with the eight that follow them along k into eight pairs.
INLINE v8 pair_across(v8 first, v8 second) {
  return (v8)__builtin_shufflevector(
    to_bfloat16(first), to_bfloat16(second), 0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
}

INLINE lanes add_products(const bool pairs, lanes sum, lanes x, lanes y) {
  return pairs ? add_pair_products(sum, x, y) : sum + x * y;
}
#else
enum { has_pairs = false };
INLINE v8 pair_along(v8 first, v8 second) { return first; }
INLINE v8 pair_across(v8 first, v8 second) { return first; }
INLINE lanes add_products(const bool pairs, lanes sum, lanes x, lanes y) { return sum + x * y; }
#endif

INLINE float word_of(bool pairs, float first, float second) {
  return pairs ? pair_across(splat8(first), splat8(second))[0] : first;
}

INLINE long words_of(long k, bool pairs) { return pairs ? (k + 1) / 2 : k; }

// Chunk length along k: as even as multiples of 32 allow.
INLINE long chunk_length(long k, bool pairs) {
  long longest = pairs ? 2 * max_words : max_words;
  long count = k > longest ? (k + longest - 1) / longest : 1;
  long even = (k + count - 1) / count;
  return (even + 31) / 32 * 32;
}

// Transposes an 8 x 8 block.
INLINE void transpose8(v8 r[8]) {
  v8 a[8], b[8];
  for (int i = 0; i < 8; i += 2) {
    a[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
    a[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
  }
  for (int i = 0; i < 8; i += 4)
    for (int j = 0; j < 2; j++) {
      b[i + j] = __builtin_shufflevector(a[i + j], a[i + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      b[i + j + 2] = __builtin_shufflevector(a[i + j], a[i + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  for (int i = 0; i < 4; i++) {
    r[i] = __builtin_shufflevector(b[i], b[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    r[i + 4] = __builtin_shufflevector(b[i], b[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}

INLINE long padded_rows(long m) { return (m + tile_rows - 1) / tile_rows * tile_rows; }

// Packs `rows` rows into consecutive words of `out`, tile_rows words per step of k. Rows from `present` on are zero.
INLINE void pack_rows(const int rows, const bool pairs, float *out, const float *a, long lda, long present, long k) {
  const long per_word = pairs ? 2 : 1;
  long p = 0;
  for (; p + 8 * per_word <= k; p += 8 * per_word) {
    v8 block[8];
#pragma clang loop unroll(full)
    for (int i = 0; i < 8; i++) {
      const float *from = a + i * lda + p;
      block[i] = i >= rows || i >= present ? splat8(0) : pairs ? pair_along(load8(from), load8(from + 8)) : load8(from);
    }
    transpose8(block);
#pragma clang loop unroll(full)
    for (int c = 0; c < 8; c++) memcpy(out + (p / per_word + c) * tile_rows, &block[c], rows * sizeof(float));
  }
  for (; p < k; p += per_word)
    for (int i = 0; i < rows; i++) {
      const float *from = a + i * lda + p;
      out[p / per_word * tile_rows + i] = i < present ? word_of(pairs, from[0], p + 1 < k ? from[1] : 0) : 0;
    }
}

INLINE void pack_tile(const bool pairs, float *out, const float *a, long lda, long rows, long k) {
  const int first = tile_rows < 8 ? tile_rows : 8, rest = tile_rows - first;
  if (rows >= first) pack_rows(first, pairs, out, a, lda, first, k);
  else pack_rows(first, pairs, out, a, lda, rows, k);
  if (rest == 0) return;
  if (rows >= tile_rows) pack_rows(rest, pairs, out + first, a + first * lda, lda, rest, k);
  else pack_rows(rest, pairs, out + first, a + first * lda, lda, rows - first, k);
}

// Packs `present` columns of a matrix whose rows run along k.
INLINE void pack_columns(float *out, const float *a, long lda, const long present, long k) {
  for (long p = 0; p < k; p++, a += lda, out += tile_rows) {
    memcpy(out, a, present * sizeof(float));
    if (present < tile_rows) memset(out + present, 0, (tile_rows - present) * sizeof(float));
  }
}

// The same as pairs.
static void pack_column_pairs(float *out, const float *a, long lda, long rows, long k) {
  const size_t first = (rows < 8 ? rows : 8) * sizeof(float), rest = rows > 8 ? (rows - 8) * sizeof(float) : 0;
  for (long p = 0; p < k; p += 2, a += 2 * lda, out += tile_rows) {
    v8 x[2][2] = {};
    for (int i = 0; i < 2 && p + i < k; i++) {
      memcpy(&x[i][0], a + i * lda, first);
      memcpy(&x[i][1], a + i * lda + 8, rest);
    }
    v8 low = pair_across(x[0][0], x[1][0]), high = pair_across(x[0][1], x[1][1]);
    memcpy(out, &low, (tile_rows < 8 ? tile_rows : 8) * sizeof(float));
    if (tile_rows > 8) memcpy(out + 8, &high, (tile_rows - 8) * sizeof(float));
  }
}

// Where columns [8 * eighth, 8 * eighth + 8) of a unit of 32 start in the unit's panels of `words` rows.
INLINE float *panel_column8(float *panels, long words, long eighth) {
  return panels + 8 * eighth / panel_columns * words * panel_columns + 8 * eighth % panel_columns;
}

// How many rows ahead of the one being packed blocks are prefetched.
enum { packed_ahead = 32 };

// Prefetches elements [begin, begin + count) of a row of blocks, if there is one. Their rows are too short for the
// processor to see what is read next.
INLINE void prefetch_blocks(const ck_matrix *matrix, long row, long begin, long count) {
  if (row >= matrix->rows || matrix->format <= ck_bfloat16) return;
  long bytes = row_bytes(matrix->format, matrix->columns);
  const uint8_t *first = (const uint8_t *)matrix->data + row * bytes, *last = first;
  first += bytes ? row_bytes(matrix->format, begin) : (row * matrix->columns + begin) / 2;
  last += bytes ? row_bytes(matrix->format, begin + count) : (row * matrix->columns + begin + count) / 2;
  for (; first < last; first += 64) __builtin_prefetch(first);
  __builtin_prefetch(last - 1);
}

// Packs columns [k0, k0 + k) of rows [n0, n0 + 32) of a right operand [n, k] into panels [words][panel_columns].
INLINE void pack_transposed(const bool pairs, const ck_matrix *right, long n0, long k0, long k, float *panels) {
  const ck_matrix matrix = *right;  // a copy: writes to the panels cannot alias it
  const long per_word = pairs ? 2 : 1, words = words_of(k, pairs);
  long whole = k / 32 * 32;
  for (long eighth = 0; eighth < 4; eighth++) {
    float *out = panel_column8(panels, words, eighth);
    long first = n0 + 8 * eighth;
    long present = matrix.rows - first;
    for (int r = 8; r < 16; r++) prefetch_blocks(&matrix, first + r, k0, k);  // the last ones are the next unit's
    if (present >= 8) {
      stored_row rows[8];
      for (int r = 0; r < 8; r++) rows[r] = row_of(&matrix, first + r);
#define X(format)                                                                                        \
  for (long p = 0; p < whole; p += 32) {                                                                 \
    v8 x[8][4];                                                                                          \
    for (int r = 0; r < 8; r++) dequantize32_##format(rows[r], k0 + p, x[r]);                            \
    for (int j = 0; j < 4 / per_word; j++) {                                                             \
      v8 block[8];                                                                                       \
      for (int r = 0; r < 8; r++) block[r] = pairs ? pair_along(x[r][2 * j], x[r][2 * j + 1]) : x[r][j]; \
      transpose8(block);                                                                                 \
      for (int c = 0; c < 8; c++) store8(out + (p / per_word + 8 * j + c) * panel_columns, block[c]);    \
    }                                                                                                    \
  }
      FOR_FORMAT(matrix.format)
#undef X
      for (long p = whole; p < k; p += per_word)
        for (int r = 0; r < 8; r++)
          out[p / per_word * panel_columns + r] =
            word_of(pairs, dequantize1(rows[r], k0 + p), pairs && p + 1 < k ? dequantize1(rows[r], k0 + p + 1) : 0);
    } else {
      for (int r = 0; r < 8; r++) {
        float row[2 * max_words] = {};
        if (r < present) CK(ck_dequantize)(right, first + r, k0, k, row);
        for (long w = 0; w < words; w++)
          out[w * panel_columns + r] = word_of(pairs, row[w * per_word], pairs ? row[2 * w + 1] : 0);
      }
    }
  }
}

// Columns [n0, n0 + 32) of a row of a right operand [k, n]; columns past the last are zero.
INLINE void dequantize_edge(const ck_matrix *matrix, long row, long n0, v8 x[4]) {
  float columns[32] = {};
  long present = matrix->columns - n0;
  stored_row from = row_of(matrix, row);
  if (matrix->format == ck_float32) memcpy(columns, (const float *)from.bytes + n0, present * sizeof(float));
  else
    for (long c = 0; c < present; c++) columns[c] = dequantize1(from, n0 + c);
  for (int j = 0; j < 4; j++) x[j] = load8(columns + 8 * j);
}

// Stores word `w` of all columns of a unit, from one row of 32 floats or from two.
INLINE void store_words(const bool pairs, float *const out[4], long w, const v8 x[4], const v8 next[4]) {
  for (int j = 0; j < 4; j++) store8(out[j] + w * panel_columns, pairs ? pair_across(x[j], next[j]) : x[j]);
}

// Packs columns [n0, n0 + 32) of rows [k0, k0 + k) of a right operand [k, n] into panels.
INLINE void pack_rows_of_k(const bool pairs, const ck_matrix *right, long n0, long k0, long k, float *panels) {
  const ck_matrix matrix = *right;
  const long per_word = pairs ? 2 : 1;
  float *out[4];
  for (long eighth = 0; eighth < 4; eighth++) out[eighth] = panel_column8(panels, words_of(k, pairs), eighth);
  if (matrix.columns - n0 >= 32) {
#define X(format)                                                                         \
  for (long p = 0; p < k; p += per_word) {                                                \
    v8 x[4], next[4] = {};                                                                \
    for (long row = p; ck_##format > ck_bfloat16 && row < p + per_word; row++)            \
      prefetch_blocks(&matrix, k0 + row + packed_ahead, n0, 32);                          \
    dequantize32_##format(row_of(&matrix, k0 + p), n0, x);                                \
    if (pairs && p + 1 < k) dequantize32_##format(row_of(&matrix, k0 + p + 1), n0, next); \
    store_words(pairs, out, p / per_word, x, next);                                       \
  }
    FOR_FORMAT(matrix.format)
#undef X
  } else {
    for (long p = 0; p < k; p += per_word) {
      v8 x[4], next[4] = {};
      dequantize_edge(&matrix, k0 + p, n0, x);
      if (pairs && p + 1 < k) dequantize_edge(&matrix, k0 + p + 1, n0, next);
      store_words(pairs, out, p / per_word, x, next);
    }
  }
}
