// Passes over the logits of a vocabulary.
#include "check.h"

static void passes(long count, float divisor) {
  float *x = random_floats(count, (uint64_t)count);
  int32_t *found = malloc((size_t)count * sizeof *found), *expected = malloc((size_t)count * sizeof *expected);
  for (long i = 0; i < count; i++) x[i] *= 20;
  x[count / 2] = 23;
  if (count > 3) x[count - 1] = x[1] = 22;

  float largest = ck_largest(x, count), y_largest = 23;
  expect_equal(&largest, &y_largest, sizeof largest, "largest of %ld", count);

  double total = 0;
  for (long i = 0; i < count; i++) total += exp((double)(x[i] / divisor) - (double)(largest / divisor));
  float sum = (float)ck_exponential_sum(x, count, divisor, largest / divisor);
  expect_close(&sum, &total, 1, 2e-6, "sum of %ld exponentials, divided by %g", count, (double)divisor);

  // The middle of the share of a token that is likely enough not to drown in rounding.
  const long picked[] = {count / 2, count - 1, 1 % count};
  for (size_t p = 0; p < sizeof picked / sizeof *picked; p++) {
    double before = 0;
    for (long i = 0; i < picked[p]; i++) before += exp((double)(x[i] / divisor) - (double)(largest / divisor));
    double own = exp((double)(x[picked[p]] / divisor) - (double)(largest / divisor));
    if (own < 1e-4 * total) continue;
    long pick = ck_pick_exponential(x, count, divisor, largest / divisor, before + own / 2);
    expect_equal(&pick, &picked[p], sizeof pick, "pick of %ld, divided by %g", count, (double)divisor);
  }
  long end = ck_pick_exponential(x, count, divisor, largest / divisor, 2 * total), y_end = count - 1;
  while (expf(x[y_end] / divisor - largest / divisor) <= 0) y_end--;
  expect_equal(&end, &y_end, sizeof end, "pick past the end of %ld", count);

  static const float thresholds[] = {-1e9f, 0, 22, 23, 24};
  for (size_t t = 0; t < sizeof thresholds / sizeof *thresholds; t++) {
    long y_count = 0, n;
    for (long i = 0; i < count; i++)
      if (x[i] >= thresholds[t]) expected[y_count++] = (int32_t)i;
    n = ck_at_least(x, count, thresholds[t], found);
    expect_equal(&n, &y_count, sizeof n, "how many of %ld are at least %g", count, (double)thresholds[t]);
    if (n == y_count)
      expect_equal(
        found, expected, (size_t)n * sizeof *found, "which of %ld are at least %g", count, (double)thresholds[t]);
  }

  x[count / 2] = NAN;
  float without_nan = ck_largest(x, count), y_without_nan = -INFINITY;
  for (long i = 0; i < count; i++) y_without_nan = x[i] > y_without_nan ? x[i] : y_without_nan;
  expect_equal(&without_nan, &y_without_nan, sizeof without_nan, "largest of %ld with a NaN", count);
  free(x);
  free(found);
  free(expected);
}

void test_sampling(void) {
  static const long counts[] = {1, 2, 7, 9, 31, 33, 100, 1031, 4999, 151936};
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    passes(counts[i], 1);
    passes(counts[i], 0.7f);
  }
}
