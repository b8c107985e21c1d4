// Cross-entropy and divergences with their gradients.
#include "check.h"

static void cross_entropy(long columns, float magnitude, float cap, float smoothing, double tolerance) {
  long rows = 4;
  float scale = 0.125f;
  float *logits = random_floats(rows * columns, (uint64_t)columns), losses[4], entropy[4];
  double *gradient = doubles(rows * columns), y_losses[4], y_entropy[4];
  int32_t targets[4];
  uint8_t correct[4], y_correct[4];
  for (long i = 0; i < rows * columns; i++) logits[i] *= magnitude;
  for (long r = 0; r < rows; r++) {
    targets[r] = (int32_t)((r * 7919) % columns);
    if (r == 1) logits[r * columns + targets[r]] = magnitude * 1.01f;
    double largest = -INFINITY, total = 0, mean = 0, weighted = 0;
    double *x = doubles(columns);
    for (long j = 0; j < columns; j++) {
      x[j] = cap > 0 ? cap * tanh(logits[r * columns + j] / (double)cap) : logits[r * columns + j];
      largest = fmax(largest, x[j]);
      mean += x[j] / (double)columns;
    }
    for (long j = 0; j < columns; j++) total += exp(x[j] - largest);
    double lse = largest + log(total);
    for (long j = 0; j < columns; j++) {
      double p = exp(x[j] - lse), want = smoothing / (double)columns + (j == targets[r] ? 1 - smoothing : 0);
      weighted += p * x[j];
      double slope = cap > 0 ? 1 - (x[j] / cap) * (x[j] / cap) : 1;
      gradient[r * columns + j] = (p - want) * scale * slope;
    }
    y_losses[r] = lse - (1 - smoothing) * x[targets[r]] - smoothing * mean;
    y_entropy[r] = lse - weighted;
    y_correct[r] = x[targets[r]] == largest;
    free(x);
  }
  float *only_losses = floats(rows * columns), again[4];
  memcpy(only_losses, logits, (size_t)(rows * columns) * sizeof(float));
  ck_cross_entropy(only_losses, targets, columns, scale, cap, smoothing, false, again, NULL, NULL, 0, rows);
  ck_cross_entropy(logits, targets, columns, scale, cap, smoothing, true, losses, correct, entropy, 0, rows);
  expect_close(
    losses, y_losses, rows, tolerance, "cross-entropy of %ld columns, cap %g, smoothing %g", columns, (double)cap,
    (double)smoothing);
  expect_equal(again, losses, sizeof losses, "cross-entropy without gradient");
  expect_close(entropy, y_entropy, rows, 1e-4, "entropy of %ld columns", columns);
  expect_close(
    logits, gradient, rows * columns, tolerance, "gradient of cross-entropy, %ld columns, cap %g, smoothing %g",
    columns, (double)cap, (double)smoothing);
  expect_equal(correct, y_correct, sizeof correct, "predicted targets of %ld columns", columns);
  free(logits);
  free(gradient);
  free(only_losses);
}

// The divergence from a teacher by its definition, and its gradient by central differences in double precision.
static double divergence_of(const double *x, const double *y, long columns, double beta) {
  double largest_x = -INFINITY, largest_y = -INFINITY, total_x = 0, total_y = 0, sum = 0;
  for (long j = 0; j < columns; j++) {
    largest_x = fmax(largest_x, x[j]);
    largest_y = fmax(largest_y, y[j]);
  }
  for (long j = 0; j < columns; j++) {
    total_x += exp(x[j] - largest_x);
    total_y += exp(y[j] - largest_y);
  }
  for (long j = 0; j < columns; j++) {
    double s = x[j] - largest_x - log(total_x), t = y[j] - largest_y - log(total_y), p = exp(s), q = exp(t);
    double m = log((1 - beta) * p + beta * q);
    sum += beta == 0 ? q * (t - s) : beta == 1 ? p * (s - t) : beta * q * (t - m) + (1 - beta) * p * (s - m);
  }
  return sum;
}

static void divergence(long columns, float beta, float temperature, float cap) {
  float *logits = random_floats(columns, (uint64_t)columns), *teacher = random_floats(columns, (uint64_t)columns + 1);
  float found[4], again[4], scale = 0.5f;
  double *x = doubles(columns), *y = doubles(columns), *gradient = doubles(columns);
  int32_t target = (int32_t)(columns / 2);
  for (long j = 0; j < columns; j++) {
    logits[j] *= 4;
    teacher[j] *= 6;
    x[j] = (cap > 0 ? cap * tanh(logits[j] / (double)cap) : logits[j]) / temperature;
    y[j] = teacher[j] / (double)temperature;
  }
  double expected = divergence_of(x, y, columns, beta);
  for (long j = 0; j < columns; j++) {
    double kept = x[j], slope = cap > 0 ? 1 - pow(kept * temperature / cap, 2) : 1;
    x[j] = kept + 1e-5;
    double above = divergence_of(x, y, columns, beta);
    x[j] = kept - 1e-5;
    gradient[j] = (above - divergence_of(x, y, columns, beta)) / 2e-5 * scale * slope / temperature;
    x[j] = kept;
  }
  float *only = floats(columns);
  memcpy(only, logits, (size_t)columns * sizeof(float));
  ck_divergence(only, teacher, &target, columns, beta, temperature, scale, cap, false, again, 0, 1);
  ck_divergence(logits, teacher, &target, columns, beta, temperature, scale, cap, true, found, 0, 1);
  expect_close(found, &expected, 1, 5e-6, "divergence of %ld columns, beta %g", columns, (double)beta);
  expect_equal(again, found, sizeof found, "divergence without gradient");
  expect_close(
    logits, gradient, columns, 1e-5, "gradient of the divergence, %ld columns, beta %g", columns, (double)beta);
  free(logits);
  free(teacher);
  free(only);
  free(x);
  free(y);
  free(gradient);
}

void test_loss(void) {
  static const long columns[] = {2, 9, 64, 1031, 4999};
  for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
    cross_entropy(columns[i], 4, 0, 0, 3e-6);
    cross_entropy(columns[i], 4, 0, 0.1f, 3e-6);
    cross_entropy(columns[i], 20, 30, 0, 1e-5);
    cross_entropy(columns[i], 60, 0, 0, 1e-5);
  }
  for (size_t i = 0; i + 1 < sizeof columns / sizeof *columns; i++) {
    divergence(columns[i], 0, 1, 0);
    divergence(columns[i], 0.3f, 2, 0);
    divergence(columns[i], 0.5f, 1, 30);
    divergence(columns[i], 1, 1.5f, 0);
  }
}
