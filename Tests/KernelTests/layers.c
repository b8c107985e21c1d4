// Norms, rotary positions, gated units, element-wise loops and sums.
#include "check.h"

static const double tolerance = 2e-6;

static void rms_norm(long columns, bool with_weight, bool with_residual) {
  long rows = 3;
  float epsilon = 1e-6f, offset = 0.5f;
  float *x = random_floats(rows * columns, 1), *residual = random_floats(rows * columns, 2);
  float *weight = random_floats(columns, 3), *dy = random_floats(rows * columns, 4);
  float *sum = floats(rows * columns), *out = floats(rows * columns), *inverse = floats(rows);
  float *dx = floats(rows * columns), *dw = floats(columns), *again = floats(rows * columns);
  double *y = doubles(rows * columns), *y_inverse = doubles(rows), *y_dx = doubles(rows * columns);
  double *y_dw = doubles(columns);
  for (long r = 0; r < rows; r++) {
    double squares = 0, dot = 0;
    for (long j = 0; j < columns; j++) {
      double value = (double)x[r * columns + j] + (with_residual ? residual[r * columns + j] : 0);
      squares += value * value;
    }
    y_inverse[r] = 1 / sqrt(squares / (double)columns + epsilon);
    for (long j = 0; j < columns; j++) {
      double value = (double)x[r * columns + j] + (with_residual ? residual[r * columns + j] : 0);
      double w = with_weight ? weight[j] + offset : 1;
      y[r * columns + j] = value * y_inverse[r] * w;
      dot += dy[r * columns + j] * w * value;
      y_dw[j] += dy[r * columns + j] * value * y_inverse[r];
    }
    for (long j = 0; j < columns; j++) {
      double value = (double)x[r * columns + j] + (with_residual ? residual[r * columns + j] : 0);
      double w = with_weight ? weight[j] + offset : 1;
      y_dx[r * columns + j] =
        y_inverse[r] * (dy[r * columns + j] * w - value * dot * y_inverse[r] * y_inverse[r] / (double)columns);
    }
  }
  const float *w = with_weight ? weight : NULL;
  ck_rms_norm(x, with_residual ? residual : NULL, sum, w, offset, epsilon, out, inverse, columns, 0, rows);
  const float *normed = with_residual ? sum : x;
  expect_close(out, y, rows * columns, tolerance, "RMS norm of %ld columns", columns);
  expect_close(inverse, y_inverse, rows, tolerance, "inverse RMS of %ld columns", columns);
  ck_rms_norm_apply(normed, w, offset, inverse, again, columns, 0, rows);
  expect_equal(again, out, rows * columns * 4, "RMS norm recomputed");
  ck_rms_norm_backward(normed, w, offset, inverse, dy, dx, false, columns, 0, rows);
  expect_close(dx, y_dx, rows * columns, 1e-5, "RMS norm backward, %ld columns", columns);
  ck_rms_norm_backward(normed, w, offset, inverse, dy, dx, true, columns, 0, rows);
  for (long i = 0; i < rows * columns; i++) y_dx[i] *= 2;
  expect_close(dx, y_dx, rows * columns, 1e-5, "RMS norm backward, accumulated");
  ck_rms_norm_weight_gradient(normed, inverse, dy, dw, rows, columns, 0, columns);
  expect_close(dw, y_dw, columns, 1e-5, "RMS norm weight gradient");
  void *all[] = {x, residual, weight, dy, sum, out, inverse, dx, dw, again, y, y_inverse, y_dx, y_dw};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

// Each head of a row is normed as a row of its own would be.
static void head_norm(long head_dim) {
  long rows = 3, heads = 2, ld = heads * head_dim + 5;
  float *x = random_floats(rows * ld, 1), *dx = random_floats(rows * ld, 2), *weight = random_floats(head_dim, 3);
  float *original = floats(rows * ld), *inverse = floats(rows * heads), *dw = floats(head_dim),
        *dw_expected = floats(head_dim);
  memcpy(original, x, (size_t)(rows * ld) * sizeof(float));
  float *gradient = floats(rows * ld);
  memcpy(gradient, dx, (size_t)(rows * ld) * sizeof(float));
  ck_head_norm(x, ld, heads, head_dim, weight, 1, 1e-5f, inverse, 0, rows);
  ck_head_norm_weight_gradient(original, ld, rows, heads, head_dim, inverse, dx, ld, dw);
  ck_head_norm_backward(original, ld, heads, head_dim, weight, 1, inverse, dx, ld, 0, rows);
  for (long r = 0; r < rows; r++)
    for (long h = 0; h < heads; h++) {
      float *y = floats(head_dim), *d = floats(head_dim), one;
      const float *from = original + r * ld + h * head_dim, *dy = gradient + r * ld + h * head_dim;
      ck_rms_norm(from, NULL, NULL, weight, 1, 1e-5f, y, &one, head_dim, 0, 1);
      expect_equal(x + r * ld + h * head_dim, y, head_dim * 4, "head norm, head dim %ld", head_dim);
      ck_rms_norm_backward(from, weight, 1, &one, dy, d, false, head_dim, 0, 1);
      expect_equal(dx + r * ld + h * head_dim, d, head_dim * 4, "head norm backward, head dim %ld", head_dim);
      ck_rms_norm_weight_gradient(from, &one, dy, dw_expected, 1, head_dim, 0, head_dim);
      free(y);
      free(d);
    }
  expect_equal(dw, dw_expected, head_dim * 4, "head norm weight gradient");
  for (long r = 0; r < rows; r++)
    expect_equal(
      x + r * ld + heads * head_dim, original + r * ld + heads * head_dim, 20, "head norm leaves other columns");
  void *all[] = {x, dx, weight, original, inverse, dw, dw_expected, gradient};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static void rotary(long head_dim, long rotated) {
  long rows = 3, heads = 2, ld = heads * head_dim, half = rotated / 2;
  float *x = random_floats(rows * ld, 1), *cosines = floats(rows * half), *sines = floats(rows * half);
  double *y = doubles(rows * ld), *before = doubles(rows * ld);
  for (long i = 0; i < rows * half; i++) {
    cosines[i] = cosf((float)i * 0.7f);
    sines[i] = sinf((float)i * 0.7f);
  }
  for (long r = 0; r < rows; r++)
    for (long h = 0; h < heads; h++)
      for (long j = 0; j < head_dim; j++) {
        const float *head = x + r * ld + h * head_dim;
        double c = cosines[r * half + j % half], s = sines[r * half + j % half];
        before[r * ld + h * head_dim + j] = head[j];
        y[r * ld + h * head_dim + j] = j < half ? head[j] * c - head[j + half] * s
          : j < rotated                         ? head[j] * c + head[j - half] * s
                                                : head[j];
      }
  ck_rotary(x, ld, heads, head_dim, rotated, cosines, sines, false, 0, rows);
  expect_close(x, y, rows * ld, tolerance, "rotary, %ld of %ld", rotated, head_dim);
  ck_rotary(x, ld, heads, head_dim, rotated, cosines, sines, true, 0, rows);
  expect_close(x, before, rows * ld, tolerance, "rotary and back, %ld of %ld", rotated, head_dim);
  free(x);
  free(cosines);
  free(sines);
  free(y);
  free(before);
}

static void gated(long columns, int activation) {
  long rows = 2;
  float *gate_up = random_floats(rows * 2 * columns, 1), *dy = random_floats(rows * columns, 2);
  float *out = floats(rows * columns), *d_gate_up = floats(rows * 2 * columns);
  double *y = doubles(rows * columns), *d = doubles(rows * 2 * columns);
  for (long i = 0; i < rows * 2 * columns; i++) gate_up[i] *= 8;
  for (long r = 0; r < rows; r++)
    for (long j = 0; j < columns; j++) {
      double gate = gate_up[r * 2 * columns + j], up = gate_up[(r * 2 + 1) * columns + j], value, slope;
      if (activation == 0) {
        double s = 1 / (1 + exp(-gate));
        value = gate * s;
        slope = s * (1 + gate * (1 - s));
      } else {
        double root = sqrt(2 / M_PI), t = tanh(root * (gate + 0.044715 * gate * gate * gate));
        value = 0.5 * gate * (1 + t);
        slope = 0.5 * (1 + t) + 0.5 * gate * (1 - t * t) * root * (1 + 3 * 0.044715 * gate * gate);
      }
      y[r * columns + j] = value * up;
      d[r * 2 * columns + j] = dy[r * columns + j] * up * slope;
      d[(r * 2 + 1) * columns + j] = dy[r * columns + j] * value;
    }
  ck_gated(gate_up, out, columns, activation, 0, rows);
  expect_close(out, y, rows * columns, 1e-5, "gated unit %d, %ld columns", activation, columns);
  ck_gated_backward(gate_up, dy, d_gate_up, columns, activation, 0, rows);
  expect_close(d_gate_up, d, rows * 2 * columns, 1e-5, "gated unit %d backward, %ld columns", activation, columns);
  void *all[] = {gate_up, dy, out, d_gate_up, y, d};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static void element_wise(long count) {
  long rows = 4;
  float *x = random_floats(rows * count, 1), *y = random_floats(rows * count, 2), *bias = random_floats(count, 3);
  float *sums = floats(count), *dropped = floats(rows * count), *again = floats(rows * count);
  double *expected = doubles(rows * count), *column_sums = doubles(count), squares = 0;
  for (long i = 0; i < rows * count; i++) {
    expected[i] = y[i] + 0.3f * (double)x[i];
    column_sums[i % count] += x[i];
    squares += (double)x[i] * x[i];
  }
  ck_add(y, x, 0.3f, 0, rows * count);
  expect_close(y, expected, rows * count, tolerance, "add, %ld", count);
  ck_scale(y, x, -3, 0, rows * count);
  for (long i = 0; i < rows * count; i++) expected[i] = -3 * (double)x[i];
  expect_close(y, expected, rows * count, tolerance, "scale, %ld", count);
  ck_add_bias(y, count, bias, count, 0, rows);
  for (long i = 0; i < rows * count; i++) expected[i] += bias[i % count];
  expect_close(y, expected, rows * count, tolerance, "add bias, %ld", count);
  ck_column_sums(x, count, rows, sums, 0, count);
  expect_close(sums, column_sums, count, tolerance, "column sums, %ld", count);
  expect(fabs(ck_sum_of_squares(x, rows * count) - squares) <= 1e-12 * squares, "sum of squares, %ld", count);

  ck_dropout(x, dropped, 0.25f, 42, false, 0, rows * count);
  long kept = 0;
  bool right = true;
  for (long i = 0; i < rows * count; i++) {
    kept += dropped[i] != 0;
    right = right && (dropped[i] == 0 || fabsf(dropped[i] - x[i] / 0.75f) <= 1e-6f * fabsf(dropped[i]));
  }
  expect(right, "dropout keeps or zeroes");
  if (count > 100)
    expect(
      fabs((double)kept / (double)(rows * count) - 0.75) < 0.1, "dropout at 0.25 kept %ld of %ld", kept, rows * count);
  for (long i = 0; i < rows * count; i += 3)
    ck_dropout(x, again, 0.25f, 42, false, i, i + 3 < rows * count ? i + 3 : rows * count);
  expect_equal(again, dropped, rows * count * 4, "dropout in ranges");

  float *capped = floats(count);
  double *soft = doubles(count);
  for (long i = 0; i < count; i++) {
    capped[i] = 40 * x[i];
    soft[i] = 30 * tanh(capped[i] / 30.0);
  }
  ck_softcap(capped, 30, 0, count);
  expect_close(capped, soft, count, 3e-6, "softcap, %ld", count);

  void *all[] = {x, y, bias, sums, dropped, again, expected, column_sums, capped, soft};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

void test_layers(void) {
  static const long columns[] = {5, 7, 8, 15, 64, 577};
  for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
    for (int flags = 0; flags < 4; flags++) rms_norm(columns[i], flags & 1, flags & 2);
    head_norm(columns[i]);
    for (int activation = 0; activation < 2; activation++) gated(columns[i], activation);
    element_wise(columns[i]);
  }
  rotary(8, 8);
  rotary(64, 64);
  rotary(80, 32);
  rotary(12, 12);

  float *x = random_floats(640, 1);
  double sum = 0;
  for (int i = 0; i < 640; i++) sum += x[i];
  expect(fabs(ck_read_all(x, 640) - sum) < 1e-4, "sum of what is read");
  expect(isfinite(ck_multiply_adds(3, 1)), "multiply-adds");
  free(x);
}
