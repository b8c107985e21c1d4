// How the operands of a product are laid out for its tiles. The left one, float32, as tiles of some rows; the right one,
// in any storage format, as panels of some columns, widened on the way. Both consist of words of 32 bits: a float each,
// or `pairs` of bfloat16 that follow each other along k, for processors that multiply these at once.

enum { tile_rows = TILE_ROWS, panel_columns = 2 * LANES, longest_words = 192 };

#ifdef CK_BFLOAT16
enum { has_pairs = true };

// Sixteen floats that follow each other along k, rounded to nearest even, as eight words.
INLINE v8 pair_along(v8 first, v8 second) {
  return (v8)_mm512_cvtneps_pbh(
    (__m512)__builtin_shufflevector(first, second, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}

// Eight words from eight floats and those that follow them along k.
INLINE v8 pair_across(v8 first, v8 second) {
  halfs8 a = (halfs8)_mm256_cvtneps_pbh((__m256)first), b = (halfs8)_mm256_cvtneps_pbh((__m256)second);
  return (v8)__builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
}

INLINE lanes add_products(const bool pairs, lanes sum, lanes x, lanes y) {
  return pairs ? (lanes)_mm512_dpbf16_ps((__m512)sum, (__m512bh)x, (__m512bh)y) : sum + x * y;
}
#else
enum { has_pairs = false };
INLINE v8 pair_along(v8 first, v8 second) { return first; }
INLINE v8 pair_across(v8 first, v8 second) { return first; }
INLINE lanes add_products(const bool pairs, lanes sum, lanes x, lanes y) { return sum + x * y; }
#endif

bool CK(ck_multiplies_bfloat16)(void) { return has_pairs; }

INLINE float word_of(bool pairs, float first, float second) {
  return pairs ? pair_across(splat8(first), splat8(second))[0] : first;
}

INLINE long words_of(long k, bool pairs) { return pairs ? (k + 1) / 2 : k; }

// The stretches that k is cut into: as even as blocks of 32 allow.
INLINE long stretch_of(long k, bool pairs) {
  long longest = pairs ? 2 * longest_words : longest_words;
  long count = k > longest ? (k + longest - 1) / longest : 1;
  long even = (k + count - 1) / count;
  return (even + 31) / 32 * 32;
}

// Transposes 8 rows of 8 into 8 columns.
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

long CK(ck_tile_rows)(void) { return tile_rows; }

INLINE long padded_rows(long m) { return (m + tile_rows - 1) / tile_rows * tile_rows; }

long CK(ck_packed_count)(long m, long k, bool pairs) { return padded_rows(m) * words_of(k, pairs && has_pairs); }

// `rows` rows, those from `present` on as zero, to columns of `out`, tile_rows words apart.
INLINE void pack_rows(
  const int rows, const bool pairs, float *out, const float *a, long lda, long present, long k) {
  const long each = pairs ? 2 : 1;
  long p = 0;
  for (; p + 8 * each <= k; p += 8 * each) {
    v8 square[8];
#pragma clang loop unroll(full)
    for (int i = 0; i < 8; i++) {
      const float *from = a + i * lda + p;
      square[i] = i >= rows || i >= present ? splat8(0) : pairs ? pair_along(load8(from), load8(from + 8)) : load8(from);
    }
    transpose8(square);
#pragma clang loop unroll(full)
    for (int c = 0; c < 8; c++) memcpy(out + (p / each + c) * tile_rows, &square[c], rows * sizeof(float));
  }
  for (; p < k; p += each)
    for (int i = 0; i < rows; i++) {
      const float *from = a + i * lda + p;
      out[p / each * tile_rows + i] = i < present ? word_of(pairs, from[0], p + 1 < k ? from[1] : 0) : 0;
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

// Pairs from `rows` columns of a matrix whose rows run along k.
static void pack_transposed_tile(float *out, const float *a, long lda, long rows, long k) {
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

void CK(ck_pack_left)(
  float *packed, const float *a, long lda, bool transposed, bool pairs, long m, long k, long tile_begin, long tile_end) {
  pairs = pairs && has_pairs;
  long stretch = stretch_of(k, pairs), rows = padded_rows(m);
  for (long t = tile_begin; t < tile_end; t++) {
    long first = t * tile_rows, present = m - first < tile_rows ? m - first : tile_rows;
    for (long k0 = 0; k0 < k; k0 += stretch) {
      long length = k - k0 < stretch ? k - k0 : stretch;
      float *out = packed + words_of(k0, pairs) * rows + first * words_of(length, pairs);
      const float *from = transposed ? a + k0 * lda + first : a + first * lda + k0;
      if (transposed && present == tile_rows) pack_transposed_tile(out, from, lda, tile_rows, length);
      else if (transposed) pack_transposed_tile(out, from, lda, present, length);
      else if (pairs) pack_tile(true, out, from, lda, present, length);
      else pack_tile(false, out, from, lda, present, length);
    }
  }
}

// Where eight columns of a unit of 32, the `eighth`th, stand in the unit's panels of `words` rows each.
INLINE float *panel_place(float *panels, long words, long eighth) {
  return panels + 8 * eighth / panel_columns * words * panel_columns + 8 * eighth % panel_columns;
}

// Panels, [words][panel_columns] each, from 32 rows of a right operand [n, k]: columns [k0, k0 + k) of rows
// [n0, n0 + 32).
INLINE void pack_transposed(const bool pairs, const ck_matrix *right, long n0, long k0, long k, float *panels) {
  const ck_matrix matrix = *right;  // known not to change while panels are written
  const long each = pairs ? 2 : 1, words = words_of(k, pairs);
  long whole = k / 32 * 32;
  for (long eighth = 0; eighth < 4; eighth++) {
    float *out = panel_place(panels, words, eighth);
    long first = n0 + 8 * eighth;
    long present = matrix.rows - first;
    if (present >= 8) {
      stored_row rows[8];
      for (int r = 0; r < 8; r++) rows[r] = row_of(&matrix, first + r);
#define X(format)                                                              \
  for (long p = 0; p < whole; p += 32) {                                        \
    v8 x[8][4];                                                                 \
    for (int r = 0; r < 8; r++) widen32_##format(rows[r], k0 + p, x[r]);                 \
    for (int j = 0; j < 4 / each; j++) {                                        \
      v8 square[8];                                                             \
      for (int r = 0; r < 8; r++) square[r] = pairs ? pair_along(x[r][2 * j], x[r][2 * j + 1]) : x[r][j]; \
      transpose8(square);                                                       \
      for (int c = 0; c < 8; c++) store8(out + (p / each + 8 * j + c) * panel_columns, square[c]); \
    }                                                                           \
  }
      FOR_FORMAT(matrix.format)
#undef X
      for (long p = whole; p < k; p += each)
        for (int r = 0; r < 8; r++)
          out[p / each * panel_columns + r] =
            word_of(pairs, widen1(rows[r], k0 + p), pairs && p + 1 < k ? widen1(rows[r], k0 + p + 1) : 0);
    } else {
      for (int r = 0; r < 8; r++) {
        float row[2 * longest_words] = {};
        if (r < present) CK(ck_widen)(right, first + r, k0, k, row);
        for (long w = 0; w < words; w++)
          out[w * panel_columns + r] = word_of(pairs, row[w * each], pairs ? row[2 * w + 1] : 0);
      }
    }
  }
}

// Columns [n0, n0 + 32) of a row of a right operand [k, n], those past its last one as zero.
INLINE void widen_edge(const ck_matrix *matrix, long row, long n0, v8 x[4]) {
  float columns[32] = {};
  long present = matrix->columns - n0;
  stored_row from = row_of(matrix, row);
  if (matrix->format == ck_float32) memcpy(columns, (const float *)from.bytes + n0, present * sizeof(float));
  else for (long c = 0; c < present; c++) columns[c] = widen1(from, n0 + c);
  for (int j = 0; j < 4; j++) x[j] = load8(columns + 8 * j);
}

// Word `w` of all columns of a unit, from one row of 32 floats or two.
INLINE void store_words(const bool pairs, float *const out[4], long w, const v8 x[4], const v8 next[4]) {
  for (int j = 0; j < 4; j++) store8(out[j] + w * panel_columns, pairs ? pair_across(x[j], next[j]) : x[j]);
}

// Panels from rows [k0, k0 + k) of a right operand [k, n]: columns [n0, n0 + 32).
INLINE void pack_straight(const bool pairs, const ck_matrix *right, long n0, long k0, long k, float *panels) {
  const ck_matrix matrix = *right;
  const long each = pairs ? 2 : 1;
  float *out[4];
  for (long eighth = 0; eighth < 4; eighth++) out[eighth] = panel_place(panels, words_of(k, pairs), eighth);
  if (matrix.columns - n0 >= 32) {
#define X(format)                                                                               \
  for (long p = 0; p < k; p += each) {                                                           \
    v8 x[4], next[4] = {};                                                                       \
    widen32_##format(row_of(&matrix, k0 + p), n0, x);                                            \
    if (pairs && p + 1 < k) widen32_##format(row_of(&matrix, k0 + p + 1), n0, next);             \
    store_words(pairs, out, p / each, x, next);                                                  \
  }
    FOR_FORMAT(matrix.format)
#undef X
  } else {
    for (long p = 0; p < k; p += each) {
      v8 x[4], next[4] = {};
      widen_edge(&matrix, k0 + p, n0, x);
      if (pairs && p + 1 < k) widen_edge(&matrix, k0 + p + 1, n0, next);
      store_words(pairs, out, p / each, x, next);
    }
  }
}
