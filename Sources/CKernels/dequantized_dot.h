// Several rows of activations times a matrix in its storage format: prompts of a few tokens, decode of several
// sequences, experts. A chunk of a few rows of the matrix is dequantized into a buffer that stays in the L1 cache, and
// multiplied by all rows of activations. Every element of the result is summed in the same order, whatever else is
// computed beside it.

// Sums of as many pairs of rows as fit in registers with their operands: 12 of 16, 16 of 32.
enum { dot_rows = LANES == 16 ? 4 : 3, dot_inputs = 4, dot_chunk = 1024 };

// sums[r][i] = floats [0, k) of row r of w times those of row i of x.
INLINE void dot_tile(
  const int inputs, const float *restrict w, const float *restrict x, long ldx, long k,
  float sums[dot_rows][dot_inputs]) {
  lanes sum[dot_rows][dot_inputs];
#pragma clang loop unroll(full)
  for (int r = 0; r < dot_rows; r++)
#pragma clang loop unroll(full)
    for (int i = 0; i < inputs; i++) sum[r][i] = splat(0);
  long p = 0;
  for (; p + LANES <= k; p += LANES) {
    lanes values[dot_rows];
#pragma clang loop unroll(full)
    for (int r = 0; r < dot_rows; r++) values[r] = *(const lanes *)(w + r * dot_chunk + p);
#pragma clang loop unroll(full)
    for (int i = 0; i < inputs; i++) {
      lanes input = load(x + i * ldx + p);
#pragma clang loop unroll(full)
      for (int r = 0; r < dot_rows; r++) sum[r][i] += values[r] * input;
    }
  }
#pragma clang loop unroll(full)
  for (int r = 0; r < dot_rows; r++)
#pragma clang loop unroll(full)
    for (int i = 0; i < inputs; i++) {
      float total = sum_lanes(sum[r][i]);
      for (long rest = p; rest < k; rest++) total += w[r * dot_chunk + rest] * x[i * ldx + rest];
      sums[r][i] = total;
    }
}

// Dequantizes floats [first, first + count) of `rows` rows of the matrix; rows up to dot_rows are zero.
INLINE void dequantize_rows(const ck_matrix *matrix, long row, long rows, long first, long count, float *w) {
  long bytes = row_bytes(matrix->format, count);
  for (long r = 0; r < dot_rows; r++, w += dot_chunk) {
    if (r >= rows) {
      memset(w, 0, count * sizeof(float));
      continue;
    }
    prefetch(row_of(matrix, row + r).bytes + row_bytes(matrix->format, first), bytes);
    CK(ck_dequantize)(matrix, row + r, first, count, w);
  }
}

// y[i][row] (+)= x[i] . right[row] for i < m and rows [row_begin, row_end).
static void dequantized_dot(
  const float *x, long ldx, long m, const ck_matrix *right, float *y, long ldy, bool accumulate, long row_begin,
  long row_end) {
  _Alignas(64) float w[dot_rows * dot_chunk];
  long first = 0;
  do {  // at least once: an empty sum is zero
    long count = right->columns - first < dot_chunk ? right->columns - first : dot_chunk;
    for (long row = row_begin; row < row_end; row += dot_rows) {
      long rows = row_end - row < dot_rows ? row_end - row : dot_rows;
      dequantize_rows(right, row, rows, first, count, w);
      for (long i = 0; i < m; i += dot_inputs) {
        float sums[dot_rows][dot_inputs];
        long inputs = m - i < dot_inputs ? m - i : dot_inputs;
        const float *from = x + i * ldx + first;
        switch (inputs) {
          case 1: dot_tile(1, w, from, ldx, count, sums); break;
          case 2: dot_tile(2, w, from, ldx, count, sums); break;
          case 3: dot_tile(3, w, from, ldx, count, sums); break;
          default: dot_tile(dot_inputs, w, from, ldx, count, sums);
        }
        for (long r = 0; r < rows; r++)
          for (long j = 0; j < inputs; j++) {
            float *out = y + (i + j) * ldy + row + r;
            *out = accumulate ? *out + sums[r][j] : sums[r][j];
          }
      }
    }
    accumulate = true;
    first += dot_chunk;
  } while (first < right->columns);
}
