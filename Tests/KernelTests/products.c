// Matrix products of every shape, orientation and storage format, with packed operands and straight from memory.
#include "check.h"

static const double tolerance = 2e-6;

// c = a . b in double precision; a is [m, k] or [k, m], b [n, k] or [k, n].
static double *reference(
  const double *a, bool a_transposed, const double *b, bool b_transposed, long m, long n, long k) {
  double *c = doubles(m * n);
  for (long i = 0; i < m; i++)
    for (long j = 0; j < n; j++) {
      double sum = 0;
      for (long p = 0; p < k; p++)
        sum += (a_transposed ? a[p * m + i] : a[i * k + p]) * (b_transposed ? b[j * k + p] : b[p * n + j]);
      c[i * n + j] = sum;
    }
  return c;
}

static double *to_doubles(const float *x, long count, bool to_bfloat16) {
  double *out = doubles(count);
  for (long i = 0; i < count; i++) out[i] = to_bfloat16 ? bfloat16_value(nearest_bfloat16(x[i])) : x[i];
  return out;
}

static void product(
  ck_format format, long m, long n, long k, bool left_transposed, bool packs, bool transposed, bool pairs) {
  stored_matrix right = random_matrix(format, transposed ? n : k, transposed ? k : n, (uint64_t)(m + 1000 * n + k));
  float *a = random_floats(m * k, (uint64_t)m);
  double *exact_a = to_doubles(a, m * k, pairs), *exact_b = doubles(n * k);
  for (long i = 0; i < n * k; i++)
    exact_b[i] = pairs ? bfloat16_value(nearest_bfloat16((float)right.values[i])) : right.values[i];
  double *expected = reference(exact_a, left_transposed, exact_b, transposed, m, n, k);
  float *packed = NULL;
  ck_term term = {.k = k, .right = right.matrix, .transposed = transposed, .pairs = pairs};
  if (!pairs && !packs) {
    term.left = a;
    term.row_stride = left_transposed ? 1 : k;
    term.k_stride = left_transposed ? m : 1;
  } else {
    packed = floats(ck_packed_count(m, k, pairs));
    long tiles = (m + ck_tile_rows() - 1) / ck_tile_rows();
    ck_pack_left(packed, a, left_transposed ? m : k, left_transposed, pairs, m, k, 0, tiles);
    term.left = packed;
  }
  float *c = floats(m * n);
  ck_part part = {0, m, 0, (n + ck_unit_columns - 1) / ck_unit_columns};
  ck_sum_of_products(&term, 1, m, n, c, n, false, &part);
  // What is rounded to bfloat16 is a kernel's own float, a bit off here and there: a few values fall to the other side.
  double allowed = pairs && format != ck_float32 ? 2e-4 : tolerance;
  expect_close(
    c, expected, m * n, allowed, "%s product m %ld n %ld k %ld, left transposed %d, packed %d, transposed %d, pairs %d",
    format_name(format), m, n, k, left_transposed, packs, transposed, pairs);
  ck_sum_of_products(&term, 1, m, n, c, n, true, &part);
  for (long i = 0; i < m * n; i++) expected[i] *= 2;
  expect_close(c, expected, m * n, allowed, "%s product added to itself", format_name(format));
  free_matrix(&right);
  free(a);
  free(exact_a);
  free(exact_b);
  free(expected);
  free(packed);
  free(c);
}

void test_products(void) {
  static const long sizes[][2] = {{1, 1},    {2, 7},    {7, 2},    {16, 32}, {33, 17},
                                  {48, 191}, {64, 193}, {65, 385}, {193, 5}};
  static const long rows[] = {1, 5, 6, 7, 13, 64};
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
      for (int flags = 0; flags < 16; flags++)
        product(
          ck_float32, rows[r], sizes[s][0], sizes[s][1], flags & 1, flags & 8, flags & 2,
          (flags & 4) && ck_multiplies_bfloat16());
  for (int f = 0; f < format_count; f++)
    for (int flags = 0; flags < 4; flags++) {
      long length = block_length(all_formats[f]), k = flags & 1 ? (length == 1 ? 135 : length == 32 ? 64 : 256) : 40;
      long n = flags & 1 ? 40 : (length == 1 ? 70 : length == 32 ? 64 : 256);
      for (long m = 5; m < 40; m += 28)
        product(all_formats[f], m, n, k, false, m < 33, flags & 1, (flags & 2) && ck_multiplies_bfloat16());
    }
}

// m rows of x, as given or prepared, against a stored matrix, rows 1 to n - 1 of it in two calls.
static void gemv(ck_format format, bool prepares, long m, long n, long k, float outlier) {
  stored_matrix right = random_matrix(format, n, k, (uint64_t)(n + k + m));
  float *x = random_floats(m * (k + 3), (uint64_t)(m + k));
  if (outlier != 0) x[k / 2] = outlier;
  float *prepared = prepares ? floats(m * ck_gemv_prepared_count(format, k)) : NULL;
  if (prepares) ck_gemv_prepare(x, k + 3, m, format, k, prepared);
  float *y = random_floats(m * n, 3);
  double *expected = doubles(m * n), *exact_x = doubles(m * k);
  for (long i = 0; i < m; i++)
    for (long p = 0; p < k; p++) exact_x[i * k + p] = x[i * (k + 3) + p];
  double *product = reference(exact_x, false, right.values, true, m, n, k);
  long from = n > 1;
  for (long i = 0; i < m; i++)
    for (long j = 0; j < n; j++)
      expected[i * n + j] = j < from ? y[i * n + j] : product[i * n + j] + (j >= n / 2 ? y[i * n + j] : 0);
  ck_gemv(x, k + 3, prepared, m, &right.matrix, y, n, false, from, n / 2 > from ? n / 2 : from);
  ck_gemv(x, k + 3, prepared, m, &right.matrix, y, n, true, n / 2 > from ? n / 2 : from, n);
  // Relative to the lengths of both vectors: an outlier may cancel out of a result, but not out of its rounding.
  for (long i = 0; i < m; i++)
    for (long j = 0; j < n; j++) {
      double x_squares = 1e-30, squares = 0;
      for (long p = 0; p < k; p++) {
        x_squares += exact_x[i * k + p] * exact_x[i * k + p];
        squares += right.values[j * k + p] * right.values[j * k + p];
      }
      double error = fabs(y[i * n + j] - expected[i * n + j]) / (sqrt(x_squares * squares) + fabs(expected[i * n + j]));
      expect(
        error <= 2e-7, "%s gemv prepared %d m %ld n %ld k %ld outlier %g: off by %.2g of the lengths",
        format_name(format), prepares, m, n, k, (double)outlier, error);
    }
  if (outlier == 0)
    expect_close(
      y, expected, m * n, tolerance, "%s gemv prepared %d m %ld n %ld k %ld outlier %g", format_name(format), prepares,
      m, n, k, (double)outlier);
  // A row's bits depend neither on the other rows nor on how the matrix is cut.
  for (long i = 0; prepares && i < m; i++) {
    float *alone = floats(n), *all = floats(m * n);
    const float *own = prepared + i * ck_gemv_prepared_count(format, k);
    ck_gemv(x, k + 3, prepared, m, &right.matrix, all, n, false, 0, n);
    for (long row = 0; row < n; row += 3)
      ck_gemv(x + i * (k + 3), k + 3, own, 1, &right.matrix, alone, n, false, row, row + 3 < n ? row + 3 : n);
    expect_equal(
      alone, all + i * n, n * (long)sizeof(float), "%s gemv of row %ld of %ld, n %ld, k %ld", format_name(format), i, m,
      n, k);
    free(alone);
    free(all);
  }
  free_matrix(&right);
  free(x);
  free(prepared);
  free(y);
  free(expected);
  free(exact_x);
  free(product);
}

// The largest codes against the largest digits: no sum of integers may overflow or saturate.
static void gemv_extremes(ck_format format, uint8_t fill, float sign) {
  long k = 512, n = 4, length = block_length(format);
  if (length == 1 || format > ck_fp4) return;
  stored_matrix right = random_matrix(format, n, k, 9);
  uint8_t *data = (uint8_t *)right.matrix.data;
  long size = format == ck_q4_0 ? 18
    : format == ck_q4_1         ? 20
    : format == ck_q5_0         ? 22
    : format == ck_q5_1         ? 24
    : format == ck_q8_0         ? 34
    : format == ck_q2_K         ? 84
    : format == ck_q3_K         ? 110
    : format == ck_q4_K         ? 144
    : format == ck_q5_K         ? 176
                                : 210;
  for (long i = 0; i < n * k / length * size; i++) data[i] = fill;
  for (long b = 0; b < n * k / length; b++) {
    static const uint8_t one[2] = {0x00, 0x3C};
    uint8_t *p = data + b * size;
    if (format == ck_q2_K) memcpy(p + 80, one, 2), memcpy(p + 82, one, 2);
    else if (format == ck_q3_K) memcpy(p + 108, one, 2);
    else if (format == ck_q6_K) memcpy(p + 208, one, 2);
    else memcpy(p, one, 2);
    if (format == ck_q4_1 || format == ck_q5_1 || format == ck_q4_K || format == ck_q5_K) memcpy(p + 2, one, 2);
  }
  float *values = floats(n * k), *x = floats(k), *y = floats(n);
  for (long row = 0; row < n; row++) ck_dequantize(&right.matrix, row, 0, k, values + row * k);
  for (long i = 0; i < k; i++) x[i] = sign * (i % 5 == 4 ? -0.99999994f : 1.0f);
  float *prepared = floats(ck_gemv_prepared_count(format, k));
  ck_gemv_prepare(x, k, 1, format, k, prepared);
  ck_gemv(x, k, prepared, 1, &right.matrix, y, n, false, 0, n);
  double *exact_x = to_doubles(x, k, false), *exact = to_doubles(values, n * k, false);
  double *expected = reference(exact_x, false, exact, true, 1, n, k);
  expect_close(
    y, expected, n, tolerance, "%s gemv of extremes, bytes %d, sign %g", format_name(format), fill, (double)sign);
  free_matrix(&right);
  free(values);
  free(x);
  free(y);
  free(prepared);
  free(exact_x);
  free(exact);
  free(expected);
}

void test_gemv(void) {
  for (int f = 0; f < format_count; f++) {
    ck_format format = all_formats[f];
    long length = block_length(format);
    for (int prepares = 0; prepares < 2; prepares++)
      for (long m = 1; m <= 9; m += m < 5 ? 1 : 2) {
        if (length == 1) {
          gemv(format, prepares, m, 9, 7, 0);
          gemv(format, prepares, m, 9, 333, 0);
        }
        for (long blocks = 1; blocks <= (length == 256 ? 3 : 19); blocks += prepares ? 1 : 2) {
          gemv(format, prepares, m, 7, blocks * (length == 1 ? 32 : length), 0);
          gemv(format, prepares, m, 7, blocks * (length == 1 ? 32 : length), 300);
        }
        // Several chunks of k.
        gemv(format, prepares, m, 33, prepares ? 1024 : 2560, 0);
      }
    // More rows than are multiplied at once.
    if (length > 1) gemv(format, true, 35, 17, 512, 0);
    for (int fill = 0; fill < 256; fill += 51)
      for (int sign = -1; sign <= 1; sign += 2) gemv_extremes(format, (uint8_t)fill, (float)sign);
    gemv_extremes(format, 128, 1);
    gemv_extremes(format, 127, -1);
  }
  // Zeros give zeros; what is not finite gives something that is not.
  for (int f = 0; f < format_count; f++) {
    ck_format format = all_formats[f];
    stored_matrix right = random_matrix(format, 3, 256, 2);
    float *x = floats(256), *prepared = floats(ck_gemv_prepared_count(format, 256)), y[3];
    ck_gemv_prepare(x, 256, 1, format, 256, prepared);
    ck_gemv(x, 256, prepared, 1, &right.matrix, y, 3, false, 0, 3);
    expect(y[0] == 0 && y[1] == 0 && y[2] == 0, "%s gemv of zeros", format_name(format));
    x[77] = INFINITY;
    ck_gemv_prepare(x, 256, 1, format, 256, prepared);
    ck_gemv(x, 256, prepared, 1, &right.matrix, y, 3, false, 0, 3);
    expect(!isfinite(y[0]) && !isfinite(y[1]) && !isfinite(y[2]), "%s gemv of infinity", format_name(format));
    x[77] = NAN;
    ck_gemv_prepare(x, 256, 1, format, 256, prepared);
    ck_gemv(x, 256, prepared, 1, &right.matrix, y, 3, false, 0, 3);
    expect(isnan(y[0]) && isnan(y[1]) && isnan(y[2]), "%s gemv of NaN", format_name(format));
    free_matrix(&right);
    free(x);
    free(prepared);
  }
}
