// Decode: a few rows of activations times a matrix in its storage format (GEMV). Bound by reading the matrix, so each
// of its rows is read once, straight into a dot product; or into a buffer, if there are more than a few.

#if defined(CK_AVX2) || defined(CK_DOT_INSTRUCTION)
INLINE long prepared_groups(long k) { return (k + group - 1) / group * (long)sizeof(x_group) / 4; }
#else
INLINE long prepared_groups(long k) { return 0; }
INLINE void prepare_integer_dot(const float *x, long k, ck_format format, void *out) {}
#endif

long CK(ck_gemv_prepared_count)(ck_format format, long k) {
  if (uses_table_dot(format)) return (k + 15) / 16 * 16;
  return uses_integer_dot(format) ? prepared_groups(k) : (k / 32 + 15) / 16 * 16;
}

// Float types and bitsandbytes' codes, which models are trained over with short rows too, keep to the sums of GEMM.
long CK(ck_max_gemv_rows)(ck_format format) {
  return format < ck_q4_0 || format == ck_nf4 || format == ck_fp4 ? 4 : 32;
}

// Measured: where dequantizing the matrix once, for all rows, takes as long as a dot product for each. With AVX-512
// VNNI, where rows share the decoding of codes, it is never faster.
long CK(ck_max_prepared_rows)(ck_format format) {
#ifdef CK_VNNI
  if (uses_integer_dot(format)) return CK(ck_max_gemv_rows)(format);
#endif
  switch (format) {
    case ck_q6_K: return 8;
    case ck_q4_K:
    case ck_q5_K: return 6;
    default: return format < ck_q4_0 || uses_integer_dot(format) || uses_table_dot(format) ? 4 : 1;
  }
}

void CK(ck_gemv_prepare)(const float *x, long ldx, long m, ck_format format, long k, float *out) {
  for (long i = 0; i < m; i++, x += ldx, out += CK(ck_gemv_prepared_count)(format, k)) {
    if (uses_integer_dot(format)) {
      prepare_integer_dot(x, k, format, out);
      continue;
    }
    if (uses_table_dot(format)) {
      prepare_table_dot(x, k, out);
      continue;
    }
    for (long b = 0; b < k / 32; b++) {
      const float *p = x + 32 * b;
      out[b] = sum_lanes8((load8(p) + load8(p + 8)) + (load8(p + 16) + load8(p + 24)));
    }
  }
}

typedef struct {
  const float *x, *prepared;
  long ldx, m;
  float *y;
  long ldy;
  bool accumulate;
} gemv_input;

INLINE void store_result(const gemv_input f, long i, long row, float value) {
  float *out = f.y + i * f.ldy + row;
  *out = f.accumulate ? *out + value : value;
}

// One function per format keeps its constants in registers from row to row.
#define ROWS(name, dot)                                                                         \
  static void rows_##name(const gemv_input f, ck_matrix matrix, long row_begin, long row_end) { \
    matrix.format = ck_##name;                                                                  \
    long k = matrix.columns, count = CK(ck_gemv_prepared_count)(ck_##name, k);                  \
    for (long row = row_begin; row < row_end; row++)                                            \
      for (long i = 0; i < f.m; i++) {                                                          \
        prepared_row x = {f.x + i * f.ldx, f.prepared + i * count};                             \
        store_result(f, i, row, dot(x, row_of(&matrix, row), k));                               \
      }                                                                                         \
  }
#define FLOAT_ROWS(name) ROWS(name, float_dot_##name)
#ifdef CK_VNNI
// The rows of a matrix that has fewer than 16, and zeros.
static const uint8_t *whole_tile(const ck_matrix *matrix, long stride) {
  uint8_t *rows = (uint8_t *)scratch(0, (size_t)(matrix_rows_512 * stride + 3) / 4);
  memcpy(rows, matrix->data, (size_t)(matrix->rows * stride));
  memset(rows + matrix->rows * stride, 0, (size_t)((matrix_rows_512 - matrix->rows) * stride));
  return rows;
}

// Stores those of the sums for the rows of the matrix from `first` on that belong to rows [row, row_end).
INLINE void store_results(
  const gemv_input f, long i, const int inputs, long first, const lanes *sums, long row, long row_end) {
  const __mmask16 mask = (__mmask16)(((1u << (row_end - row)) - 1) << (row - first));
  for (int j = 0; j < inputs; j++) {
    float *out = f.y + (i + j) * f.ldy + first;
    __m512 sum = (__m512)sums[j];
    if (f.accumulate) sum += _mm512_maskz_loadu_ps(mask, out);
    _mm512_mask_storeu_ps(out, mask, sum);
  }
}

// Rows of activations in groups, so that their digits stay in the caches while the rows of the matrix pass, 16 at a
// time: the last ones together with some before them.
#define INTEGER_ROWS_OF(name, inputs)                                                   \
  for (long row = row_begin; row < row_end; row += matrix_rows_512) {                   \
    const long first = last < 0 ? 0 : row < last ? row : last;                          \
    const long end = row_end - row < matrix_rows_512 ? row_end : row + matrix_rows_512; \
    lanes sums[inputs];                                                                 \
    integer_dots_##name(inputs, x, data + first * stride, stride, k, sums);             \
    store_results(f, i, inputs, first, sums, row, end);                                 \
  }                                                                                     \
  i += inputs;                                                                          \
  x += inputs * (k / group);
#define INTEGER_ROWS(name)                                                                                 \
  static void rows_##name(const gemv_input f, ck_matrix matrix, long row_begin, long row_end) {            \
    const long k = matrix.columns, stride = row_bytes(ck_##name, k), last = matrix.rows - matrix_rows_512; \
    const uint8_t *data = last < 0 ? whole_tile(&matrix, stride) : matrix.data;                            \
    const x_group *x = (const x_group *)f.prepared;                                                        \
    for (long i = 0; i < f.m;) {                                                                           \
      if (f.m - i >= dot_inputs_512) {                                                                     \
        INTEGER_ROWS_OF(name, dot_inputs_512)                                                              \
      } else if (f.m - i >= 4) {                                                                           \
        INTEGER_ROWS_OF(name, 4)                                                                           \
      } else if (f.m - i >= 2) {                                                                           \
        INTEGER_ROWS_OF(name, 2)                                                                           \
      } else {                                                                                             \
        INTEGER_ROWS_OF(name, 1)                                                                           \
      }                                                                                                    \
    }                                                                                                      \
  }
#else
#define INTEGER_ROWS(name) ROWS(name, integer_dot_##name)
#endif
FLOAT_FORMATS(FLOAT_ROWS)
INTEGER_FORMATS(INTEGER_ROWS)
#define TABLE_ROWS(name) ROWS(name, table_dot_##name)
TABLE_FORMATS(TABLE_ROWS)

void CK(ck_gemv)(
  const float *x, long ldx, const float *prepared, long m, const ck_matrix *right, float *y, long ldy, bool accumulate,
  long row_begin, long row_end) {
  if (!prepared) return dequantized_dot(x, ldx, m, right, y, ldy, accumulate, row_begin, row_end);
  const gemv_input f = {x, prepared, ldx, m, y, ldy, accumulate};
#define X(format) rows_##format(f, *right, row_begin, row_end);
  FOR_FORMAT(right->format)
#undef X
}
