// Decode throughput of each storage format on one thread: GB/s of weights read by ck_gemv, from cache and from memory.
//
//   clang -O2 -ISources/CKernels/include Benchmarks/kernels/gemv.c Sources/CKernels/dispatch.c \
//     Sources/CKernels/targets/*.c -lm -o /tmp/gemv && /tmp/gemv [TARGET]
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "CKernels.h"

enum { columns = 1024, repetitions = 15 };

static const struct {
  const char *name;
  ck_format format;
  double bytes_per_weight;
} formats[] = {
  {"bfloat16", ck_bfloat16, 2},   {"q4_0", ck_q4_0, 18.0 / 32},   {"q4_1", ck_q4_1, 20.0 / 32},
  {"q5_0", ck_q5_0, 22.0 / 32},   {"q5_1", ck_q5_1, 24.0 / 32},   {"q8_0", ck_q8_0, 34.0 / 32},
  {"q2_K", ck_q2_K, 84.0 / 256},  {"q3_K", ck_q3_K, 110.0 / 256}, {"q4_K", ck_q4_K, 144.0 / 256},
  {"q5_K", ck_q5_K, 176.0 / 256}, {"q6_K", ck_q6_K, 210.0 / 256}, {"nf4", ck_nf4, 0.5 + 4.0 / 64},
};

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median_seconds(const ck_matrix *matrix, const float *x, const float *prepared, float *y, long rounds) {
  double times[repetitions];
  for (int i = 0; i < repetitions; i++) {
    double start = now();
    for (long r = 0; r < rounds; r++) ck_gemv(x, columns, prepared, 1, matrix, y, matrix->rows, false, 0, matrix->rows);
    times[i] = (now() - start) / (double)rounds;
  }
  qsort(times, repetitions, sizeof *times, ascending);
  return times[repetitions / 2];
}

int main(int count, char **arguments) {
  if (count > 1 && !ck_select_target(arguments[1])) {
    fprintf(stderr, "%s: not supported by this processor.\n", arguments[1]);
    return 1;
  }
  size_t memory_size = (size_t)192 << 20;
  uint8_t *data = malloc(memory_size);
  float *x = malloc(columns * sizeof *x), *scales = malloc(memory_size / 8 * sizeof *scales);
  if (!data || !x || !scales) return 1;
  // Codes of any value; scales near 1, so that nothing is subnormal or infinite.
  for (size_t i = 0; i < memory_size; i++) data[i] = (uint8_t)(i % 2 ? 0x3C : i * 2654435761u >> 24);
  for (size_t i = 0; i < memory_size / 8; i++) scales[i] = 1;
  for (long i = 0; i < columns; i++) x[i] = (float)(i * 37 % 101) / 50.0f - 1;
  printf("%s        cache    memory  GB/s; prepare, us\n", ck_target());
  for (size_t f = 0; f < sizeof formats / sizeof *formats; f++) {
    double row_bytes = columns * formats[f].bytes_per_weight;
    ck_matrix matrix = {data, formats[f].format, 0, columns, {.absmax = scales, .block_shift = 6}};
    float *prepared = aligned_alloc(64, (size_t)ck_gemv_prepared_count(formats[f].format, columns) * 4 + 64 & ~63ul);
    ck_gemv_prepare(x, columns, 1, formats[f].format, columns, prepared);
    double start = now();
    for (int i = 0; i < 1000; i++) ck_gemv_prepare(x, columns, 1, formats[f].format, columns, prepared);
    double prepare = (now() - start) / 1000;
    float *y = malloc((size_t)((double)memory_size / row_bytes) * sizeof *y);
    matrix.rows = (long)((192 << 10) / row_bytes);
    double cached = (double)matrix.rows * row_bytes / median_seconds(&matrix, x, prepared, y, 50);
    matrix.rows = (long)((double)memory_size / 2 / row_bytes);
    double streamed = (double)matrix.rows * row_bytes / median_seconds(&matrix, x, prepared, y, 1);
    printf("%-10s %9.1f %9.1f %9.2f\n", formats[f].name, cached * 1e-9, streamed * 1e-9, prepare * 1e6);
    free(prepared);
    free(y);
  }
  return 0;
}
