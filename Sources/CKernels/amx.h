// Products of operands rounded to bfloat16, on AMX: an instruction multiplies 16 rows of 32 elements with 32 x 16,
// eight times as many multiply-adds per cycle as AVX-512 has for pairs. Sums are float32.
//
// A left operand is packed as [chunk of k][16 rows][32 of k] tiles of 16 rows x 16 words, a unit of the right operand
// as [32 of k] tiles of 16 words x 32 columns. A word is two bfloat16 that are adjacent along k. What lies past an
// operand's end is zero.
#ifdef CK_AMX

enum { tile_words = 16 * 16, tile_depth = 32 };

typedef struct {
  uint8_t palette, start_row, reserved[14];
  uint16_t bytes_per_row[16];
  uint8_t rows[16];
} tile_configuration;

// All eight tiles have 16 rows of 64 bytes.
static void configure_tiles(void) {
  tile_configuration configuration = {.palette = 1};
  for (int i = 0; i < 8; i++) {
    configuration.bytes_per_row[i] = 64;
    configuration.rows[i] = 16;
  }
  _tile_loadconfig(&configuration);
}

INLINE long steps_of(long k) { return (k + tile_depth - 1) / tile_depth; }

INLINE __mmask16 first_lanes(long count) {
  return count >= 16 ? 0xFFFF : count > 0 ? (__mmask16)((1 << count) - 1) : 0;
}

// Rounds 32 floats, which are adjacent along k, to a row of a tile.
INLINE void store_tile_row(float *out, __m512 low, __m512 high) {
  _mm512_storeu_ps(out, (__m512)_mm512_cvtne2ps_pbh(high, low));
}

// Packs `present` rows of k floats.
static void pack_tile_rows(float *out, const float *a, long lda, long present, long k) {
  for (long p = 0; p < k; p += tile_depth, out += tile_words) {
    const __mmask16 first = first_lanes(k - p), second = first_lanes(k - p - 16);
    for (long i = 0; i < present; i++) {
      const float *from = a + i * lda + p;
      store_tile_row(out + i * 16, _mm512_maskz_loadu_ps(first, from), _mm512_maskz_loadu_ps(second, from + 16));
    }
    memset(out + present * 16, 0, (16 - present) * 16 * sizeof(float));
  }
}

// The same for `present` columns of k rows.
static void pack_tile_columns(float *out, const float *a, long lda, long present, long k) {
  for (long p = 0; p < k; p += tile_depth, out += tile_words) {
    float rows[16][tile_depth];
    for (long q = 0; q < tile_depth; q += 8)
      for (long half = 0; half < 16; half += 8) {
        v8 block[8] = {};
        for (long i = 0; i < 8 && p + q + i < k; i++) {
          const float *from = a + (p + q + i) * lda + half;
          if (present - half >= 8) block[i] = load8(from);
          else if (present > half) memcpy(&block[i], from, (present - half) * sizeof(float));
        }
        transpose8(block);
        for (long i = 0; i < 8; i++) store8(rows[half + i] + q, block[i]);
      }
    for (long i = 0; i < 16; i++) store_tile_row(out + i * 16, _mm512_loadu_ps(rows[i]), _mm512_loadu_ps(rows[i] + 16));
  }
}

// Packs blocks [begin, end) of 16 rows of a left operand.
static void pack_tiles(float *packed, const float *a, long lda, bool transposed, long m, long k, long begin, long end) {
  const long blocks = (m + 15) / 16, chunk = chunk_length(k, true);
  for (long block = begin; block < end && block < blocks; block++) {
    const long first = block * 16, present = m - first < 16 ? m - first : 16;
    for (long k0 = 0; k0 < k; k0 += chunk) {
      const long length = k - k0 < chunk ? k - k0 : chunk;
      float *out = packed + (steps_of(k0) * blocks + block * steps_of(length)) * tile_words;
      if (transposed) pack_tile_columns(out, a + k0 * lda + first, lda, present, length);
      else pack_tile_rows(out, a + first * lda + k0, lda, present, length);
    }
  }
}

// c [rows, 32] (+)= a . b for 16 or 32 rows. The second 16 rows of a are `next` floats after the first. Meanwhile
// fetches the `upcoming` rows of c after these, which may be in memory.
INLINE void tiles(
  const int rows, long steps, const float *a, long next, const float *b, float *c, long ldc, bool accumulate,
  long upcoming) {
  const bool both = rows == 32;
  const long row_bytes = ldc * (long)sizeof(float), lines = (rows + steps - 1) / steps;
  if (accumulate) {
    _tile_loadd(0, c, row_bytes);
    _tile_loadd(1, c + 16, row_bytes);
    if (both) _tile_loadd(2, c + 16 * ldc, row_bytes);
    if (both) _tile_loadd(3, c + 16 * ldc + 16, row_bytes);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (long step = 0; step < steps; step++, a += tile_words, b += 2 * tile_words) {
    for (long i = step * lines; i < (step + 1) * lines && i < upcoming; i++) {
      __builtin_prefetch(c + (rows + i) * ldc, 1, 3);
      __builtin_prefetch(c + (rows + i) * ldc + 16, 1, 3);
    }
    _tile_loadd(4, a, 64);
    if (both) _tile_loadd(5, a + next, 64);
    _tile_loadd(6, b, 128);
    _tile_loadd(7, b + 16, 128);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    if (both) _tile_dpbf16ps(2, 5, 6);
    if (both) _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, c, row_bytes);
  _tile_stored(1, c + 16, row_bytes);
  if (both) _tile_stored(2, c + 16 * ldc, row_bytes);
  if (both) _tile_stored(3, c + 16 * ldc + 16, row_bytes);
}

// The same for a block that extends past the edge of the result.
static void edge_tiles(
  long steps, const float *a, long next, const float *b, float *c, long ldc, long rows, long columns, bool accumulate) {
  float buffer[32 * 32];
  for (long i = 0; accumulate && i < rows; i++) memcpy(buffer + i * 32, c + i * ldc, columns * sizeof(float));
  if (rows > 16) tiles(32, steps, a, next, b, buffer, 32, accumulate, 0);
  else tiles(16, steps, a, next, b, buffer, 32, accumulate, 0);
  for (long i = 0; i < rows; i++) memcpy(c + i * ldc, buffer + i * 32, columns * sizeof(float));
}

// Adds one chunk of k for all units.
static void add_tiles(
  const ck_term *term, long k0, long k, long m, long n, float *c, long ldc, bool accumulate, const ck_part *part) {
  const long steps = steps_of(k), next = steps * tile_words;
  float *panels = scratch(0, max_words * ck_unit_columns);
  memset(
    panels + words_of(k, true) * ck_unit_columns, 0,
    (16 * steps - words_of(k, true)) * ck_unit_columns * sizeof(float));
  configure_tiles();
  const float *left = term->left + steps_of(k0) * ((m + 15) / 16) * tile_words + part->row_begin / 16 * next;
  for (long unit = part->unit_begin; unit < part->unit_end; unit++) {
    const long n0 = unit * ck_unit_columns, columns = n - n0 < ck_unit_columns ? n - n0 : ck_unit_columns;
    if (term->transposed) pack_transposed(true, &term->right, n0, k0, k, panels);
    else pack_rows_of_k(true, &term->right, n0, k0, k, panels);
    const float *a = left;
    for (long row = part->row_begin; row < part->row_end; row += 32, a += 2 * next) {
      const long rows = part->row_end - row < 32 ? part->row_end - row : 32;
      const long rest = part->row_end - row - rows, upcoming = rest < 32 ? rest : 32;
      float *out = c + row * ldc + n0;
      if (rows == 32 && columns == 32) tiles(32, steps, a, next, panels, out, ldc, accumulate, upcoming);
      else edge_tiles(steps, a, next, panels, out, ldc, rows, columns, accumulate);
    }
  }
  _tile_release();
}
#endif
