// The matrix product. A panel of the right operand (a few columns of the result, a chunk of k) stays in the L1 cache
// while all tiles of the left operand pass over it. The microkernel keeps a tile's sums in registers: 6 x 16 with
// 256-bit vectors (12 multiply-adds per 8 loads), 12 x 32 with 512-bit vectors (24 per 14). `words` counts k as
// packing.h does.

// Where a left operand is: its rows `across` floats apart, its words along k `along` floats apart. One of them is 1.
typedef struct {
  const float *first;
  long across, along;
} left_rows;

// Steps of k per round of the microkernel's loop. One has 12 multiply-adds among 20 instructions with 256-bit vectors,
// and the loop's own instructions add to those: 4 to 10% of the time where another thread shares the core.
#ifdef CK_AVX2
#define STEPS_PER_ROUND 4
#else
#define STEPS_PER_ROUND 1
#endif

// Microkernel: c [rows, vectors * LANES] (+)= a [rows][words] . b [words][panel_columns].
INLINE void tile(
  const bool pairs, const int rows, const int vectors, long words, const left_rows left, const float *restrict b,
  float *restrict c, long ldc, bool accumulate) {
  lanes sum[tile_rows][2];
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; i++) sum[i][0] = sum[i][1] = splat(0);
  // The result's lines come from memory, and are needed only at the end of the tile.
  if (accumulate) {
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; i++)
#pragma clang loop unroll(full)
      for (int j = 0; j < vectors; j++) __builtin_prefetch(c + i * ldc + j * LANES, 1, 3);
  }
  const float *a = left.first, *thirds[(tile_rows + 2) / 3];  // an address each for three rows
#pragma clang loop unroll(full)
  for (int i = 0; i < (rows + 2) / 3; i++) thirds[i] = a + 3 * i * left.across;
#pragma clang loop unroll_count(STEPS_PER_ROUND)
  for (long w = 0; w < words; w++) {
    lanes b0 = *(const lanes *)b, b1 = *(const lanes *)(b + LANES);
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; i++) {
      lanes x = splat(left.across == 1 ? a[i] : thirds[i / 3][i % 3 * left.across]);
      sum[i][0] = add_products(pairs, sum[i][0], x, b0);
      if (vectors == 2) sum[i][1] = add_products(pairs, sum[i][1], x, b1);
    }
    a += left.along;
#pragma clang loop unroll(full)
    for (int i = 0; i < (rows + 2) / 3; i++) thirds[i] += left.along;
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

// A tile that extends past the edge of the result, computed in a buffer.
INLINE void edge_tile(
  const bool pairs, long words, left_rows left, const float *panel, float *c, long ldc, long rows, long columns,
  bool accumulate) {
  enum { part = tile_rows / 3 };
  float buffer[tile_rows * panel_columns], padded[max_words * tile_rows];
  if (left.across != 1 || (left.along != tile_rows && rows < tile_rows)) {  // do not read past the operand's end
    for (long w = 0; w < words; w++)
      for (long i = 0; i < tile_rows; i++)
        padded[w * tile_rows + i] = i < rows ? left.first[i * left.across + w * left.along] : 0;
    left = (left_rows){padded, 1, tile_rows};
  }
  left.across = 1;
  if (rows <= part) tile(pairs, part, 2, words, left, panel, buffer, panel_columns, false);
  else if (rows <= 2 * part) tile(pairs, 2 * part, 2, words, left, panel, buffer, panel_columns, false);
  else tile(pairs, tile_rows, 2, words, left, panel, buffer, panel_columns, false);
  for (long i = 0; i < rows; i++)
    for (long j = 0; j < columns; j++) {
      float *out = c + i * ldc + j, value = buffer[i * panel_columns + j];
      *out = accumulate ? *out + value : value;
    }
}

// The part of a right operand that is packed next: `rows` rows of `bytes` bytes.
typedef struct {
  const uint8_t *row;
  long bytes, row_step, rows, offset;
} prefetch_range;

// Columns [n0, n0 + ck_unit_columns) of the result, one chunk of k. Float formats only: the loops that pack blocks
// prefetch for themselves.
INLINE prefetch_range next_operand(const ck_term *term, long n, long n0, long k0, long k) {
  const ck_matrix *right = &term->right;
  if (right->format > ck_bfloat16) return (prefetch_range){0};
  long columns = n - n0 < ck_unit_columns ? n - n0 : ck_unit_columns, size = right->format == ck_float32 ? 4 : 2;
  const uint8_t *data = right->data;
  long step = right->columns * size;
  return term->transposed ? (prefetch_range){data + n0 * step + k0 * size, k * size, step, columns, 0}
                          : (prefetch_range){data + k0 * step + n0 * size, columns * size, step, k, 0};
}

// Prefetches `lines` cache lines into L2. Not inlined: the tiles need all registers.
static __attribute__((noinline)) void prefetch_lines(prefetch_range *upcoming, long lines) {
  for (; lines > 0 && upcoming->rows > 0; lines--) {
    __builtin_prefetch(upcoming->row + upcoming->offset, 0, 2);
    upcoming->offset += 64;
    if (upcoming->offset < upcoming->bytes) continue;
    upcoming->offset = 0;
    upcoming->row += upcoming->row_step;
    upcoming->rows--;
  }
}

// All tiles of m rows times one panel. Each tile begins `left_tile` floats after the one before. Meanwhile prefetches
// `upcoming`, if not NULL.
INLINE void times_tiles(
  const bool pairs, const left_rows left, long left_tile, long words, const float *panel, long m, long columns,
  float *c, long ldc, bool accumulate, prefetch_range *upcoming) {
  long t = 0, whole = m / tile_rows,
       lines = upcoming ? (upcoming->bytes / 64 + 1) * upcoming->rows / (whole + 1) + 1 : 0;
#define TILE ((left_rows){left.first + t * left_tile, left.across, left.along})
  if (columns == panel_columns)
    for (; t < whole; t++) {
      if (upcoming && upcoming->rows) prefetch_lines(upcoming, lines);
      tile(pairs, tile_rows, 2, words, TILE, panel, c + t * tile_rows * ldc, ldc, accumulate);
    }
  else if (columns == LANES)
    for (; t < whole; t++) tile(pairs, tile_rows, 1, words, TILE, panel, c + t * tile_rows * ldc, ldc, accumulate);
  for (; t * tile_rows < m; t++) {
    long rows = m - t * tile_rows < tile_rows ? m - t * tile_rows : tile_rows;
    edge_tile(pairs, words, TILE, panel, c + t * tile_rows * ldc, ldc, rows, columns, accumulate);
  }
#undef TILE
}

// The same for a packed operand, for one that has its columns one after the other, and for one that has its rows.
static void panel_times_tiles(
  const float *left, long left_tile, long words, const float *panel, long m, long columns, float *c, long ldc,
  bool accumulate, prefetch_range *upcoming) {
  times_tiles(
    false, (left_rows){left, 1, tile_rows}, left_tile, words, panel, m, columns, c, ldc, accumulate, upcoming);
}

static void panel_times_columns(
  const float *left, long stride, long words, const float *panel, long m, long columns, float *c, long ldc,
  bool accumulate, prefetch_range *upcoming) {
  times_tiles(false, (left_rows){left, 1, stride}, tile_rows, words, panel, m, columns, c, ldc, accumulate, upcoming);
}

static void panel_times_rows(
  const float *left, long stride, long words, const float *panel, long m, long columns, float *c, long ldc,
  bool accumulate, prefetch_range *upcoming) {
  times_tiles(
    false, (left_rows){left, stride, 1}, tile_rows * stride, words, panel, m, columns, c, ldc, accumulate, upcoming);
}

static void pair_panel_times_tiles(
  const float *left, long left_tile, long words, const float *panel, long m, long columns, float *c, long ldc,
  bool accumulate, prefetch_range *upcoming) {
  times_tiles(
    has_pairs, (left_rows){left, 1, tile_rows}, left_tile, words, panel, m, columns, c, ldc, accumulate, upcoming);
}

// Adds one chunk of k for all units. The left operand's share of the chunk stays in the L2 cache.
INLINE void add_chunk(
  const bool pairs, const ck_term *term, long k0, long k, long m, long n, float *c, long ldc, bool accumulate,
  const ck_part *part) {
  float *panels = scratch(0, max_words * ck_unit_columns);
  long rows = part->row_end - part->row_begin, words = words_of(k, pairs);
  bool is_packed = !term->row_stride;
  const float *left = term->left
    + (is_packed ? words_of(k0, pairs) * padded_rows(m) + part->row_begin * words
                 : k0 * term->k_stride + part->row_begin * term->row_stride);
  for (long unit = part->unit_begin; unit < part->unit_end; unit++) {
    long n0 = unit * ck_unit_columns, last = n0 + ck_unit_columns < n ? n0 + ck_unit_columns : n;
    if (term->transposed) pack_transposed(pairs, &term->right, n0, k0, k, panels);
    else pack_rows_of_k(pairs, &term->right, n0, k0, k, panels);
    long after = k0 + k, rest = term->k - after < k ? term->k - after : k;
    prefetch_range upcoming = unit + 1 < part->unit_end ? next_operand(term, n, last, k0, k)
      : rest > 0 ? next_operand(term, n, part->unit_begin * ck_unit_columns, after, rest)
                 : (prefetch_range){0};
    for (long first = n0; first < last; first += panel_columns) {
      long columns = last - first < panel_columns ? last - first : panel_columns;
      const float *panel = panels + (first - n0) * words;
      float *out = c + part->row_begin * ldc + first;
      if (term->row_stride > 1)
        panel_times_rows(left, term->row_stride, words, panel, rows, columns, out, ldc, accumulate, &upcoming);
      else if (!is_packed)
        panel_times_columns(left, term->k_stride, words, panel, rows, columns, out, ldc, accumulate, &upcoming);
      else
        (pairs ? pair_panel_times_tiles : panel_times_tiles)(
          left, tile_rows * words, words, panel, rows, columns, out, ldc, accumulate, &upcoming);
    }
  }
}

static void add_floats(
  const ck_term *term, long k0, long k, long m, long n, float *c, long ldc, bool accumulate, const ck_part *part) {
  add_chunk(false, term, k0, k, m, n, c, ldc, accumulate, part);
}

static void add_pairs(
  const ck_term *term, long k0, long k, long m, long n, float *c, long ldc, bool accumulate, const ck_part *part) {
#ifdef CK_AMX
  add_tiles(term, k0, k, m, n, c, ldc, accumulate, part);
#else
  add_chunk(has_pairs, term, k0, k, m, n, c, ldc, accumulate, part);
#endif
}

#ifdef CK_AMX
enum { part_rows = 48 };  // whole tiles of either kind
#else
enum { part_rows = tile_rows };
#endif

long CK(ck_tile_rows)(void) { return part_rows; }

bool CK(ck_multiplies_bfloat16)(void) { return has_pairs; }

// Other targets gain nothing, or need the elements of a tile side by side. Rows whole pages of 4 KB apart displace each
// other from the caches. Intel's processors lose a tenth.
bool CK(ck_reads_rows)(long stride) {
#ifdef CK_AVX512
  return !ck_is_intel && stride > 1 && stride % 1024 != 0;
#else
  return false;
#endif
}

// A tile takes a part of a cache line from each of up to 192 rows of k. Those displace each other, and the panel, if
// they are whole pages apart, and with 32 KB in the L1 cache in any case.
bool CK(ck_reads_columns)(long stride) {
#ifdef CK_AVX512
  return stride % 1024 != 0;
#else
  return false;
#endif
}

long CK(ck_packed_count)(long m, long k, bool pairs) {
#ifdef CK_AMX
  if (pairs) return (m + 15) / 16 * steps_of(k) * tile_words;
#endif
  return padded_rows(m) * words_of(k, pairs && has_pairs);
}

void CK(ck_pack_left)(
  float *packed, const float *a, long lda, bool transposed, bool pairs, long m, long k, long tile_begin,
  long tile_end) {
  pairs = pairs && has_pairs;
#ifdef CK_AMX
  if (pairs)
    return pack_tiles(packed, a, lda, transposed, m, k, tile_begin * part_rows / 16, tile_end * part_rows / 16);
#endif
  long chunk = chunk_length(k, pairs), rows = padded_rows(m), end = tile_end * part_rows / tile_rows;
  for (long t = tile_begin * part_rows / tile_rows; t < end && t * tile_rows < m; t++) {
    long first = t * tile_rows, present = m - first < tile_rows ? m - first : tile_rows;
    for (long k0 = 0; k0 < k; k0 += chunk) {
      long length = k - k0 < chunk ? k - k0 : chunk;
      float *out = packed + words_of(k0, pairs) * rows + first * words_of(length, pairs);
      const float *from = transposed ? a + k0 * lda + first : a + first * lda + k0;
      if (transposed && pairs) pack_column_pairs(out, from, lda, present, length);
      else if (transposed && present == tile_rows) pack_columns(out, from, lda, tile_rows, length);
      else if (transposed) pack_columns(out, from, lda, present, length);
      else if (pairs) pack_tile(true, out, from, lda, present, length);
      else pack_tile(false, out, from, lda, present, length);
    }
  }
}

void CK(ck_sum_of_products)(
  const ck_term *terms, long term_count, long m, long n, float *c, long ldc, bool accumulate, const ck_part *part) {
  for (long i = 0; i < term_count; i++) {
    bool pairs = terms[i].pairs && has_pairs;
    long chunk = chunk_length(terms[i].k, pairs), k0 = 0;
    do {  // at least once: an empty sum is zero
      long k = terms[i].k - k0 < chunk ? terms[i].k - k0 : chunk;
      (pairs ? add_pairs : add_floats)(terms + i, k0, k, m, n, c, ldc, accumulate, part);
      k0 += chunk;
      accumulate = true;
    } while (k0 < terms[i].k);
  }
}
