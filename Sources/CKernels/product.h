// The matrix product. While a panel of the right operand (some columns of the result, a stretch of k) stays in the
// first-level cache, all tiles of the left one pass over it. A tile's sums stay in registers: with 256-bit vectors
// 6 x 16, 12 multiply-adds for 8 loads; with 512-bit vectors 12 x 32, 24 for 14. `words` counts k as packing.h does.

// c [rows, vectors * LANES] (+)= a [words][tile_rows], `step` floats from one to the next, . b [words][panel_columns].
INLINE void tile(
  const bool pairs, const int rows, const int vectors, long words, const float *restrict a, long step,
  const float *restrict b, float *restrict c, long ldc, bool accumulate) {
  lanes sum[tile_rows][2];
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; i++) sum[i][0] = sum[i][1] = splat(0);
  for (long w = 0; w < words; w++) {
    lanes b0 = *(const lanes *)b, b1 = *(const lanes *)(b + LANES);
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; i++) {
      lanes x = splat(a[i]);
      sum[i][0] = add_products(pairs, sum[i][0], x, b0);
      if (vectors == 2) sum[i][1] = add_products(pairs, sum[i][1], x, b1);
    }
    a += step;
    b += panel_columns;
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; i++)
#pragma clang loop unroll(full)
    for (int j = 0; j < vectors; j++) {
      float *out = c + i * ldc + j * LANES;
      store(out, accumulate ? load(out) + sum[i][j] : sum[i][j]);
    }
}

// A tile that reaches past the result: through a square.
INLINE void edge_tile(
  const bool pairs, long words, const float *a, long step, const float *panel, float *c, long ldc, long rows,
  long columns, bool accumulate) {
  enum { part = tile_rows / 3 };
  float square[tile_rows * panel_columns], rest[longest_words * tile_rows];
  if (step != tile_rows && rows < tile_rows) {  // a matrix in memory ends here: nothing may be read past it
    for (long w = 0; w < words; w++)
      for (long i = 0; i < tile_rows; i++) rest[w * tile_rows + i] = i < rows ? a[w * step + i] : 0;
    a = rest;
    step = tile_rows;
  }
  if (rows <= part) tile(pairs, part, 2, words, a, step, panel, square, panel_columns, false);
  else if (rows <= 2 * part) tile(pairs, 2 * part, 2, words, a, step, panel, square, panel_columns, false);
  else tile(pairs, tile_rows, 2, words, a, step, panel, square, panel_columns, false);
  for (long i = 0; i < rows; i++)
    for (long j = 0; j < columns; j++) {
      float *out = c + i * ldc + j, value = square[i * panel_columns + j];
      *out = accumulate ? *out + value : value;
    }
}

// What will be packed next of a right operand: so many bytes of so many rows.
typedef struct {
  const uint8_t *row;
  long bytes, row_step, rows, fetched;
} wanted_soon;

// Columns [n0, n0 + ck_unit_columns) of the result, a stretch of k. Floats only: blocks are small enough for packing to be
// bound by widening them.
INLINE wanted_soon wanted_of(const ck_term *term, long n, long n0, long k0, long k) {
  const ck_matrix *right = &term->right;
  if (right->format > ck_bfloat16) return (wanted_soon){0};
  long columns = n - n0 < ck_unit_columns ? n - n0 : ck_unit_columns, size = right->format == ck_float32 ? 4 : 2;
  const uint8_t *data = right->data;
  long step = right->columns * size;
  return term->transposed ? (wanted_soon){data + n0 * step + k0 * size, k * size, step, columns, 0}
                          : (wanted_soon){data + k0 * step + n0 * size, columns * size, step, k, 0};
}

// Has some of it brought into the second-level cache. Apart from the tiles, whose registers it would take.
static __attribute__((noinline)) void fetch(wanted_soon *wanted, long lines) {
  for (; lines > 0 && wanted->rows > 0; lines--) {
    __builtin_prefetch(wanted->row + wanted->fetched, 0, 2);
    wanted->fetched += 64;
    if (wanted->fetched < wanted->bytes) continue;
    wanted->fetched = 0;
    wanted->row += wanted->row_step;
    wanted->rows--;
  }
}

// All tiles of m rows with one panel of at most longest_words; what is `wanted` next, if not NULL, is fetched meanwhile.
INLINE void times_tiles(
  const bool pairs, const float *left, long left_tile, long step, long words, const float *panel, long m, long columns,
  float *c, long ldc, bool accumulate, wanted_soon *wanted) {
  long t = 0, whole = m / tile_rows, lines = wanted ? (wanted->bytes / 64 + 1) * wanted->rows / (whole + 1) + 1 : 0;
  if (columns == panel_columns)
    for (; t < whole; t++) {
      if (wanted && wanted->rows) fetch(wanted, lines);
      tile(pairs, tile_rows, 2, words, left + t * left_tile, step, panel, c + t * tile_rows * ldc, ldc, accumulate);
    }
  else if (columns == LANES)
    for (; t < whole; t++)
      tile(pairs, tile_rows, 1, words, left + t * left_tile, step, panel, c + t * tile_rows * ldc, ldc, accumulate);
  for (; t * tile_rows < m; t++) {
    long rows = m - t * tile_rows < tile_rows ? m - t * tile_rows : tile_rows;
    edge_tile(
      pairs, words, left + t * left_tile, step, panel, c + t * tile_rows * ldc, ldc, rows, columns, accumulate);
  }
}

static void panel_times_tiles(
  const float *left, long left_tile, long step, long words, const float *panel, long m, long columns, float *c, long ldc,
  bool accumulate, wanted_soon *wanted) {
  times_tiles(false, left, left_tile, step, words, panel, m, columns, c, ldc, accumulate, wanted);
}

static void pair_panel_times_tiles(
  const float *left, long left_tile, long step, long words, const float *panel, long m, long columns, float *c, long ldc,
  bool accumulate, wanted_soon *wanted) {
  times_tiles(has_pairs, left, left_tile, step, words, panel, m, columns, c, ldc, accumulate, wanted);
}

// A stretch of k of all units: the left operand's part of it stays in the second-level cache meanwhile.
INLINE void add_stretch(
  const bool pairs, const ck_term *term, long k0, long k, long m, long n, float *c, long ldc, bool accumulate,
  const ck_part *part) {
  float *panels = scratch(0, longest_words * ck_unit_columns);
  long rows = part->row_end - part->row_begin, words = words_of(k, pairs);
  const float *left = term->left + (term->left_stride ? k0 * term->left_stride + part->row_begin
                                                      : words_of(k0, pairs) * padded_rows(m) + part->row_begin * words);
  long left_tile = term->left_stride ? tile_rows : tile_rows * words, step = term->left_stride ? term->left_stride : tile_rows;
  for (long unit = part->unit_begin; unit < part->unit_end; unit++) {
    long n0 = unit * ck_unit_columns, last = n0 + ck_unit_columns < n ? n0 + ck_unit_columns : n;
    if (term->transposed) pack_transposed(pairs, &term->right, n0, k0, k, panels);
    else pack_straight(pairs, &term->right, n0, k0, k, panels);
    long after = k0 + k, rest = term->k - after < k ? term->k - after : k;
    wanted_soon wanted = unit + 1 < part->unit_end ? wanted_of(term, n, last, k0, k)
                         : rest > 0 ? wanted_of(term, n, part->unit_begin * ck_unit_columns, after, rest)
                                    : (wanted_soon){0};
    for (long first = n0; first < last; first += panel_columns) {
      long columns = last - first < panel_columns ? last - first : panel_columns;
      (pairs ? pair_panel_times_tiles : panel_times_tiles)(
        left, left_tile, step, words, panels + (first - n0) * words, rows, columns, c + part->row_begin * ldc + first, ldc,
        accumulate, &wanted);
    }
  }
}

static void add_floats(
  const ck_term *term, long k0, long k, long m, long n, float *c, long ldc, bool accumulate, const ck_part *part) {
  add_stretch(false, term, k0, k, m, n, c, ldc, accumulate, part);
}

static void add_pairs(
  const ck_term *term, long k0, long k, long m, long n, float *c, long ldc, bool accumulate, const ck_part *part) {
  add_stretch(has_pairs, term, k0, k, m, n, c, ldc, accumulate, part);
}

void CK(ck_sum_of_products)(
  const ck_term *terms, long term_count, long m, long n, float *c, long ldc, bool accumulate, const ck_part *part) {
  for (long i = 0; i < term_count; i++) {
    bool pairs = terms[i].pairs && has_pairs;
    long stretch = stretch_of(terms[i].k, pairs), k0 = 0;
    do {  // once at least: a sum of nothing is zero
      long k = terms[i].k - k0 < stretch ? terms[i].k - k0 : stretch;
      (pairs ? add_pairs : add_floats)(terms + i, k0, k, m, n, c, ldc, accumulate, part);
      k0 += stretch;
      accumulate = true;
    } while (k0 < terms[i].k);
  }
}
