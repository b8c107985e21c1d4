// How the operands of a product are laid out for its tiles. The left one, float32, as tiles of some rows; the right one,
// in any storage format, as panels of some columns, widened on the way.

enum { tile_rows = TILE_ROWS, panel_columns = 2 * LANES, longest_k = 192 };

// The stretches that k is cut into: as even as blocks of 32 allow.
INLINE long stretch_of(long k) {
  long count = k > longest_k ? (k + longest_k - 1) / longest_k : 1;
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

long CK(ck_packed_count)(long m, long k) { return padded_rows(m) * k; }

// `rows` rows, those from `present` on as zero, to columns of `out`, tile_rows floats apart.
INLINE void pack_rows(const int rows, float *out, const float *a, long lda, long present, long k) {
  long p = 0;
  for (; p + 8 <= k; p += 8) {
    v8 square[8];
#pragma clang loop unroll(full)
    for (int i = 0; i < 8; i++) square[i] = i < rows && i < present ? load8(a + i * lda + p) : splat8(0);
    transpose8(square);
#pragma clang loop unroll(full)
    for (int c = 0; c < 8; c++) memcpy(out + (p + c) * tile_rows, &square[c], rows * sizeof(float));
  }
  for (; p < k; p++)
    for (int i = 0; i < rows; i++) out[p * tile_rows + i] = i < present ? a[i * lda + p] : 0;
}

static void pack_tile(float *out, const float *a, long lda, long rows, long k) {
  const int first = tile_rows < 8 ? tile_rows : 8, rest = tile_rows - first;
  if (rows >= first) pack_rows(first, out, a, lda, first, k);
  else pack_rows(first, out, a, lda, rows, k);
  if (rest == 0) return;
  if (rows >= tile_rows) pack_rows(rest, out + first, a + first * lda, lda, rest, k);
  else pack_rows(rest, out + first, a + first * lda, lda, rows - first, k);
}

void CK(ck_pack_left)(
  float *packed, const float *a, long lda, long m, long k, long tile_begin, long tile_end) {
  long stretch = stretch_of(k), rows = padded_rows(m);
  for (long t = tile_begin; t < tile_end; t++) {
    long first = t * tile_rows, present = m - first < tile_rows ? m - first : tile_rows;
    for (long k0 = 0; k0 < k; k0 += stretch) {
      long length = k - k0 < stretch ? k - k0 : stretch;
      pack_tile(packed + k0 * rows + first * length, a + first * lda + k0, lda, present, length);
    }
  }
}

// Where eight columns of a unit of 32, the `eighth`th, stand in the unit's panels of k rows each.
INLINE float *panel_place(float *panels, long k, long eighth) {
  return panels + 8 * eighth / panel_columns * k * panel_columns + 8 * eighth % panel_columns;
}

// Panels, [k][panel_columns] each, from 32 rows of a right operand [n, k]: columns [k0, k0 + k) of rows [n0, n0 + 32).
static void pack_transposed(const ck_matrix *right, long n0, long k0, long k, float *panels) {
  const ck_matrix matrix = *right;  // known not to change while panels are written
  long whole = k / 32 * 32;
  for (long eighth = 0; eighth < 4; eighth++) {
    float *out = panel_place(panels, k, eighth);
    long first = n0 + 8 * eighth;
    long present = matrix.rows - first;
    if (present >= 8) {
      stored_row rows[8];
      for (int r = 0; r < 8; r++) rows[r] = row_of(&matrix, first + r);
#define X(format)                                                              \
  for (long p = 0; p < whole; p += 32) {                                        \
    v8 x[8][4];                                                                 \
    for (int r = 0; r < 8; r++) widen32_##format(rows[r], k0 + p, x[r]);                 \
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

// Panels from rows [k0, k0 + k) of a right operand [k, n]: columns [n0, n0 + 32).
static void pack_straight(const ck_matrix *right, long n0, long k0, long k, float *panels) {
  const ck_matrix matrix = *right;
  float *out[4];
  for (long eighth = 0; eighth < 4; eighth++) out[eighth] = panel_place(panels, k, eighth);
  long present = matrix.columns - n0;
  if (present >= 32) {
#define X(format)                                                                  \
  for (long p = 0; p < k; p++) {                                                    \
    v8 x[4];                                                                        \
    widen32_##format(row_of(&matrix, k0 + p), n0, x);                                        \
    for (int j = 0; j < 4; j++) store8(out[j] + p * panel_columns, x[j]);           \
  }
    FOR_FORMAT(matrix.format, X)
#undef X
  } else if (matrix.format == ck_float32) {
    for (long p = 0; p < k; p++) {
      const float *row = (const float *)row_of(&matrix, k0 + p).bytes + n0;
      for (long c = 0; c < 4; c++) {
        v8 x = splat8(0);
        if (present >= 8 * c + 8) x = load8(row + 8 * c);
        else if (present > 8 * c) memcpy(&x, row + 8 * c, (present - 8 * c) * sizeof(float));
        store8(out[c] + p * panel_columns, x);
      }
    }
  } else {
    for (long p = 0; p < k; p++)
      for (long c = 0; c < 32; c++)
        out[c / 8][p * panel_columns + c % 8] = c < present ? widen1(row_of(&matrix, k0 + p), n0 + c) : 0;
  }
}
