// Checks every kernel against double precision, for each instruction set that this processor has.
//
//   kernel-tests [--digest] [TARGET ...]
//
// --digest also prints a hash of all results for each target: two builds whose hashes agree compute the same bits.
#include <stdarg.h>

#include "check.h"

static const char *const targets[] = {"portable", "avx2", "avxvnni", "avx512", "avx512bf16",
                                      "amx",      "neon", "dotprod", "i8mm",   "bf16"};
static long checks, failures;
static double worst;
static uint64_t digest;

uint64_t random_bits(random_source *source) {
  uint64_t z = source->state += 0x9E3779B97F4A7C15ull;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ z >> 27) * 0x94D049BB133111EBull;
  return z ^ z >> 31;
}

float random_float(random_source *source) { return (float)(random_bits(source) >> 40) / 8388608.0f - 1.0f; }

void *bytes(long count) {
  void *memory = calloc(count > 0 ? (size_t)count : 1, 1);
  if (!memory) abort();
  return memory;
}

float *floats(long count) { return bytes(count * (long)sizeof(float)); }
double *doubles(long count) { return bytes(count * (long)sizeof(double)); }

float *random_floats(long count, uint64_t seed) {
  random_source source = {seed * 7919};
  float *x = floats(count);
  for (long i = 0; i < count; i++) x[i] = random_float(&source);
  return x;
}

static void add_to_digest(const void *data, long size) {
  const uint8_t *p = data;
  for (long i = 0; i < size; i++) digest = (digest ^ p[i]) * 0x100000001B3ull;
}

static void fail(const char *format, va_list arguments) {
  failures++;
  fprintf(stderr, "%s: ", ck_target());
  vfprintf(stderr, format, arguments);
}

void expect_close(const float *found, const double *expected, long count, double tolerance, const char *format, ...) {
  checks++;
  add_to_digest(found, count * (long)sizeof(float));
  double squares = 0;
  for (long i = 0; i < count; i++) squares += expected[i] * expected[i];
  double root_mean_square = count > 0 ? sqrt(squares / (double)count) : 0;
  for (long i = 0; i < count; i++) {
    double scale = fmax(fmax(fabs(expected[i]), root_mean_square), 1e-30);
    double error = fabs(found[i] - expected[i]) / scale;
    if (error <= tolerance) {
      worst = fmax(worst, error / tolerance);
      continue;
    }
    va_list arguments;
    va_start(arguments, format);
    fail(format, arguments);
    va_end(arguments);
    fprintf(
      stderr, ": element %ld is %.9g, expected %.9g: off by %.2g, allowed %.2g\n", i, (double)found[i], expected[i],
      error, tolerance);
    return;
  }
}

void expect_equal(const void *found, const void *expected, long size, const char *format, ...) {
  checks++;
  add_to_digest(found, size);
  if (memcmp(found, expected, (size_t)size) == 0) return;
  va_list arguments;
  va_start(arguments, format);
  fail(format, arguments);
  va_end(arguments);
  fprintf(stderr, ": bytes differ\n");
}

void expect(bool condition, const char *format, ...) {
  checks++;
  if (condition) return;
  va_list arguments;
  va_start(arguments, format);
  fail(format, arguments);
  va_end(arguments);
  fprintf(stderr, "\n");
}

static void run_all(void) {
  test_formats();
  test_products();
  test_gemv();
  test_attention();
  test_layers();
  test_loss();
  test_sampling();
  test_optimizers();
  test_quantizers();
}

int main(int count, char **arguments) {
  bool prints_digest = false;
  long ran = 0, named = 0;
  for (int i = 1; i < count; i++) {
    if (strcmp(arguments[i], "--digest") == 0) prints_digest = true;
    else named++;
  }
  printf("best target: %s\n", ck_target());
  for (size_t t = 0; t < sizeof targets / sizeof *targets; t++) {
    bool wanted = named == 0;
    for (int i = 1; i < count; i++) wanted = wanted || strcmp(arguments[i], targets[t]) == 0;
    if (!wanted || !ck_select_target(targets[t])) continue;
    checks = failures = 0;
    worst = 0;
    digest = 0xCBF29CE484222325ull;
    run_all();
    printf(
      "%-12s %ld checks, %ld failed; largest error %.0f%% of what is allowed", targets[t], checks, failures,
      100 * worst);
    if (prints_digest) printf("; digest %016llx", (unsigned long long)digest);
    printf("\n");
    if (failures) return 1;
    ran++;
  }
  if (ran == 0 || (named > 0 && ran < named)) {
    fprintf(stderr, "This processor lacks a target that was asked for.\n");
    return 1;
  }
  return 0;
}
