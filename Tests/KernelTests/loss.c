// Cross-entropy and its gradient.
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

void test_loss(void) {
  static const long columns[] = {2, 9, 64, 1031, 4999};
  for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
    cross_entropy(columns[i], 4, 0, 0, 3e-6);
    cross_entropy(columns[i], 4, 0, 0.1f, 3e-6);
    cross_entropy(columns[i], 20, 30, 0, 1e-5);
    cross_entropy(columns[i], 60, 0, 0, 1e-5);
  }
}
