// Few rows against a matrix in its storage format: what generation does, bound by reading the matrix.

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
