// The matrix product. The left operand is packed into tiles of 6 rows; the right one, in any storage format, is widened
// panel by panel (16 columns of the result, a stretch of k) into a buffer that stays in the first-level cache while all
// tiles pass over it. The tile kernel holds 6 x 16 sums in registers: 12 multiply-adds for 8 loads.

enum { tile_rows = ck_tile_rows, panel_columns = 16, longest_k = 192 };

long CK(ck_packed_count)(long m, long k) { return (m + tile_rows - 1) / tile_rows * tile_rows * k; }

void CK(ck_pack_left)(
  float *packed, const float *a, long lda, long m, long k, long tile_begin, long tile_end) {
  for (long t = tile_begin; t < tile_end; t++) {
    float *out = packed + t * tile_rows * k;
    long first = t * tile_rows, rows = m - first < tile_rows ? m - first : tile_rows;
    if (rows == tile_rows) {
      const float *r0 = a + first * lda, *r1 = r0 + lda, *r2 = r1 + lda, *r3 = r2 + lda, *r4 = r3 + lda, *r5 = r4 + lda;
      for (long p = 0; p < k; p++, out += tile_rows) {
        out[0] = r0[p]; out[1] = r1[p]; out[2] = r2[p]; out[3] = r3[p]; out[4] = r4[p]; out[5] = r5[p];
      }
    } else {
      for (long p = 0; p < k; p++)
        for (long i = 0; i < tile_rows; i++) out[p * tile_rows + i] = i < rows ? a[(first + i) * lda + p] : 0;
    }
  }
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

// Two panels, [k][16] each, from 32 rows of a right operand [n, k]: columns [k0, k0 + k) of rows [n0, n0 + 32).
static void pack_transposed(const ck_matrix *right, long n0, long k0, long k, float *panels) {
  const ck_matrix matrix = *right;  // known not to change while panels are written
  long whole = k / 32 * 32;
  for (long half_panel = 0; half_panel < 4; half_panel++) {
    float *out = panels + (half_panel / 2) * k * panel_columns + half_panel % 2 * 8;
    long first = n0 + 8 * half_panel;
    long present = matrix.rows - first;
    if (present >= 8) {
      stored_row rows[8];
      for (int r = 0; r < 8; r++) rows[r] = row_of(&matrix, first + r);
#define X(widen32)                                                              \
  for (long p = 0; p < whole; p += 32) {                                        \
    v8 x[8][4];                                                                 \
    for (int r = 0; r < 8; r++) widen32(rows[r], k0 + p, x[r]);                 \
    for (int j = 0; j < 4; j++) {                                               \
      v8 square[8];                                                             \
      for (int r = 0; r < 8; r++) square[r] = x[r][j];                          \
      transpose8(square);                                                       \
      for (int c = 0; c < 8; c++) store8(out + (p + 8 * j + c) * panel_columns, square[c]); \
    }                                                                           \
  }
      FOR_FORMAT(matrix.format, X)
#undef X
      for (long p = whole; p < k; p++)
        for (int r = 0; r < 8; r++) out[p * panel_columns + r] = widen1(rows[r], k0 + p);
    } else {
      for (int r = 0; r < 8; r++) {
        if (r < present) {
          float row[longest_k];
          CK(ck_widen)(right, first + r, k0, k, row);
          for (long p = 0; p < k; p++) out[p * panel_columns + r] = row[p];
        } else {
          for (long p = 0; p < k; p++) out[p * panel_columns + r] = 0;
        }
      }
    }
  }
}

// Two panels from rows [k0, k0 + k) of a right operand [k, n]: columns [n0, n0 + 32).
static void pack_straight(const ck_matrix *right, long n0, long k0, long k, float *panels) {
  const ck_matrix matrix = *right;
  float *second = panels + k * panel_columns;
  if (matrix.columns - n0 >= 32) {
#define X(widen32)                                             \
  for (long p = 0; p < k; p++) {                               \
    v8 x[4];                                                   \
    widen32(row_of(&matrix, k0 + p), n0, x);                   \
    store8(panels + p * panel_columns, x[0]);                  \
    store8(panels + p * panel_columns + 8, x[1]);              \
    store8(second + p * panel_columns, x[2]);                  \
    store8(second + p * panel_columns + 8, x[3]);              \
  }
    FOR_FORMAT(matrix.format, X)
#undef X
  } else if (matrix.format == ck_float32) {
    long present = matrix.columns - n0;
    for (long p = 0; p < k; p++) {
      const float *row = (const float *)row_of(&matrix, k0 + p).bytes + n0;
      for (long c = 0; c < 4; c++) {
        v8 x = splat8(0);
        if (present >= 8 * c + 8) x = load8(row + 8 * c);
        else if (present > 8 * c) memcpy(&x, row + 8 * c, (present - 8 * c) * sizeof(float));
        store8((c < 2 ? panels : second) + p * panel_columns + c % 2 * 8, x);
      }
    }
  } else {
    long present = matrix.columns - n0;
    for (long p = 0; p < k; p++)
      for (long c = 0; c < 32; c++)
        panels[(c / 16) * k * panel_columns + p * panel_columns + c % 16] =
          c < present ? widen1(row_of(&matrix, k0 + p), n0 + c) : 0;
  }
}

// c [6, 16] (+)= a [k][6], `step` floats from one k to the next, . b [k][16].
INLINE void tile(long k, const float *restrict a, long step, const float *restrict b, float *restrict c, long ldc, bool accumulate) {
  v8 sum[tile_rows][2];
#pragma clang loop unroll(full)
  for (int i = 0; i < tile_rows; i++) sum[i][0] = sum[i][1] = splat8(0);
  for (long p = 0; p < k; p++) {
    v8 b0 = *(const v8 *)b, b1 = *(const v8 *)(b + 8);
#pragma clang loop unroll(full)
    for (int i = 0; i < tile_rows; i++) {
      v8 x = splat8(a[i]);
      sum[i][0] += x * b0;
      sum[i][1] += x * b1;
    }
    a += step;
    b += panel_columns;
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < tile_rows; i++) {
    float *row = c + i * ldc;
    if (accumulate) {
      store8(row, load8(row) + sum[i][0]);
      store8(row + 8, load8(row + 8) + sum[i][1]);
    } else {
      store8(row, sum[i][0]);
      store8(row + 8, sum[i][1]);
    }
  }
}

// All tiles of one panel, k at most longest_k; a tile that reaches past the result goes through a full-size square first.
static void panel_times_tiles(
  const float *left, long left_tile, long step, long k, const float *panel, long m, long columns, float *c, long ldc,
  bool accumulate) {
  long t = 0;
  if (columns == panel_columns)
    for (; (t + 1) * tile_rows <= m; t++)
      tile(k, left + t * left_tile, step, panel, c + t * tile_rows * ldc, ldc, accumulate);
  for (; t * tile_rows < m; t++) {
    float square[tile_rows * panel_columns], rest[longest_k * tile_rows];
    const float *a = left + t * left_tile;
    long rows = m - t * tile_rows < tile_rows ? m - t * tile_rows : tile_rows, a_step = step;
    if (step != tile_rows && rows < tile_rows) {  // a matrix in memory ends here: nothing may be read past it
      for (long p = 0; p < k; p++)
        for (long i = 0; i < tile_rows; i++) rest[p * tile_rows + i] = i < rows ? a[p * step + i] : 0;
      a = rest;
      a_step = tile_rows;
    }
    tile(k, a, a_step, panel, square, panel_columns, false);
    for (long i = 0; i < rows; i++)
      for (long j = 0; j < columns; j++) {
        float *out = c + (t * tile_rows + i) * ldc + j;
        *out = accumulate ? *out + square[i * panel_columns + j] : square[i * panel_columns + j];
      }
  }
}

// The stretches that k is cut into: as even as blocks of 32 allow.
INLINE long stretch_of(long k) {
  long count = k > longest_k ? (k + longest_k - 1) / longest_k : 1;
  long even = (k + count - 1) / count;
  return (even + 31) / 32 * 32;
}

void CK(ck_sum_of_products)(
  const ck_term *terms, long term_count, long m, long n, float *c, long ldc, bool accumulate, long unit_begin, long unit_end) {
  float *panels = scratch(0, 2 * longest_k * panel_columns);
  for (long unit = unit_begin; unit < unit_end; unit++) {
    long n0 = unit * ck_unit_columns;
    bool add = accumulate;
    for (long i = 0; i < term_count; i++) {
      const ck_term *term = terms + i;
      long stretch = stretch_of(term->k);
      long k0 = 0;
      do {  // once at least: a sum of nothing is zero
        long k = term->k - k0 < stretch ? term->k - k0 : stretch;
        if (term->transposed) pack_transposed(&term->right, n0, k0, k, panels);
        else pack_straight(&term->right, n0, k0, k, panels);
        for (long half_unit = 0; half_unit < 2; half_unit++) {
          long first = n0 + half_unit * panel_columns;
          long columns = n - first < panel_columns ? n - first : panel_columns;
          if (columns <= 0) break;
          panel_times_tiles(
            term->left + k0 * term->left_step, term->left_tile, term->left_step, k, panels + half_unit * k * panel_columns, m,
            columns, c + first, ldc, add);
        }
        k0 += stretch;
        add = true;
      } while (k0 < term->k);
    }
  }
}

// The same number of rows of x against one row of the right operand after the other; x stays in the cache.
#define FEW_ROWS(M)                                                                                  \
  for (long row = row_begin; row < row_end; row++) {                                                 \
    stored_row stored = row_of(right, row);                                                          \
    v8 sums[M][4];                                                                                   \
    for (int i = 0; i < M; i++) for (int j = 0; j < 4; j++) sums[i][j] = splat8(0);                  \
    long p = 0;                                                                                      \
    FOR_FORMAT(right->format, X)                                                                     \
    for (int i = 0; i < M; i++) {                                                                    \
      float sum = sum8((sums[i][0] + sums[i][1]) + (sums[i][2] + sums[i][3]));                       \
      for (long q = p; q < k; q++) sum += x[i * ldx + q] * widen1(stored, q);                        \
      y[i * ldy + row] = accumulate ? y[i * ldy + row] + sum : sum;                                  \
    }                                                                                                \
  }

#define FEW_ROWS_FUNCTION(M)                                                                                        \
  static void few_rows_##M(                                                                                         \
    const float *x, long ldx, const ck_matrix *right, float *y, long ldy, bool accumulate, long row_begin, long row_end) { \
    long k = right->columns;                                                                                        \
    FEW_ROWS(M)                                                                                                     \
  }
#define X(widen32)                                                                \
  for (; p + 32 <= k; p += 32) {                                                  \
    v8 w[4];                                                                      \
    widen32(stored, p, w);                                                        \
    _Pragma("clang loop unroll(full)") for (int i = 0; i < ROWS; i++)             \
      _Pragma("clang loop unroll(full)") for (int j = 0; j < 4; j++)              \
        sums[i][j] += w[j] * load8(x + i * ldx + p + 8 * j);                      \
  }
#define ROWS 1
FEW_ROWS_FUNCTION(1)
#undef ROWS
#define ROWS 2
FEW_ROWS_FUNCTION(2)
#undef ROWS
#undef X

void CK(ck_few_rows)(
  const float *x, long ldx, long m, const ck_matrix *right, float *y, long ldy, bool accumulate, long row_begin, long row_end) {
  long i = 0;
  for (; i + 2 <= m; i += 2) few_rows_2(x + i * ldx, ldx, right, y + i * ldy, ldy, accumulate, row_begin, row_end);
  if (i < m) few_rows_1(x + i * ldx, ldx, right, y + i * ldy, ldy, accumulate, row_begin, row_end);
}
