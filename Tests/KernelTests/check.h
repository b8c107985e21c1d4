// What the kernel tests share: random numbers, comparison with double precision, and a digest of all results.
#ifndef CHECK_H
#define CHECK_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "CKernels.h"

// Uniform in [-1, 1); the sequence depends on `seed` alone.
typedef struct {
  uint64_t state;
} random_source;
uint64_t random_bits(random_source *source);
float random_float(random_source *source);

// `count` floats in a heap block of exactly that size, so that the address sanitizer sees any access past the end.
float *floats(long count);
float *random_floats(long count, uint64_t seed);
double *doubles(long count);
void *bytes(long count);

// Fails unless every element is within `tolerance`, relative to the element or to the root mean square of all.
void expect_close(const float *found, const double *expected, long count, double tolerance, const char *format, ...)
  __attribute__((format(printf, 5, 6)));
void expect_equal(const void *found, const void *expected, long size, const char *format, ...)
  __attribute__((format(printf, 4, 5)));
void expect(bool condition, const char *format, ...) __attribute__((format(printf, 2, 3)));

double half_value(uint16_t bits);
double bfloat16_value(uint16_t bits);
uint16_t nearest_bfloat16(double x);

// A random matrix in a storage format, and the values it stands for, computed here independently of the kernels.
typedef struct {
  ck_matrix matrix;
  double *values;
} stored_matrix;
stored_matrix random_matrix(ck_format format, long rows, long columns, uint64_t seed);
void free_matrix(stored_matrix *stored);
enum { format_count = 22 };
extern const ck_format all_formats[format_count];
const char *format_name(ck_format format);
// Elements per block: 1, 32 or 256.
long block_length(ck_format format);

void test_formats(void);
void test_products(void);
void test_gemv(void);
void test_attention(void);
void test_layers(void);
void test_loss(void);
void test_sampling(void);
void test_optimizers(void);
void test_quantizers(void);

#endif
