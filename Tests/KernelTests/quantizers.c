// float32 to the storage formats that the program writes.
#include "check.h"

static void conversions(void) {
  long count = 4096 + 5;
  float *x = random_floats(count, 1);
  // All magnitudes, ties, and what is not finite.
  random_source source = {11};
  for (long i = 0; i < count; i++) {
    uint32_t bits = (uint32_t)random_bits(&source);
    if (i % 4 == 1) bits &= 0xFFFF8000;
    if (i % 2 == 1) memcpy(x + i, &bits, 4);
  }
  x[0] = INFINITY, x[2] = -INFINITY, x[4] = NAN, x[6] = 65519.99f, x[8] = 65520, x[10] = -0.0f, x[12] = 5.9604645e-8f;
  uint16_t *halves = bytes(2 * count), *brains = bytes(2 * count);
  ck_convert_float16(x, halves, count);
  ck_convert_bfloat16(x, brains, count);
  for (long i = 0; i < count; i++) {
    if (isnan(x[i])) {
      expect((halves[i] & 0x7FFF) > 0x7C00 && (brains[i] & 0x7FFF) > 0x7F80, "NaN stays NaN");
      continue;
    }
    uint32_t bits;
    memcpy(&bits, x + i, 4);
    uint64_t sign = bits >> 31;
    double magnitude = fabs((double)x[i]);
    // float16 by exact arithmetic: the multiple of the unit that is nearest, ties to even.
    int exponent = magnitude > 0 && isfinite(magnitude) ? ilogb(magnitude) : 0;
    double unit = ldexp(1, (exponent < -14 ? -14 : exponent) - 10);
    double rounded = isfinite(magnitude) ? nearbyint(magnitude / unit) * unit : magnitude;
    if (rounded >= 65520) expect(halves[i] == (0x7C00 | sign << 15), "%g is infinite in float16", (double)x[i]);
    else expect(fabs(half_value(halves[i])) == rounded && halves[i] >> 15 == sign, "%g in float16", (double)x[i]);
    uint16_t expected = isfinite(x[i]) ? nearest_bfloat16(x[i]) : (uint16_t)(bits >> 16);
    bool overflows = (bits & 0x7FFFFFFF) >= 0x7F7F8000;  // beyond the largest bfloat16
    expect(overflows ? (brains[i] & 0x7FFF) == 0x7F80 : brains[i] == expected, "%g in bfloat16", (double)x[i]);
  }
  free(x);
  free(halves);
  free(brains);
}

// Decoded again, no element is further from what it was than half a step of its block; d is the block's scale in
// float32.
static void blocks(long count) {
  float *x = random_floats(32 * count, 3), *found = floats(32 * count);
  uint8_t *q8 = bytes(34 * count), *q4 = bytes(18 * count);
  if (count > 1) memset(x + 32, 0, 128);
  ck_quantize_q8_0(x, q8, count);
  ck_quantize_q4_0(x, q4, count);
  for (long b = 0; b < count; b++) {
    float largest = 0;
    for (int j = 0; j < 32; j++)
      if (fabsf(x[32 * b + j]) > fabsf(largest)) largest = x[32 * b + j];
    uint16_t bits8, bits4;
    memcpy(&bits8, q8 + 34 * b, 2);
    memcpy(&bits4, q4 + 18 * b, 2);
    double d8 = fabsf(largest) / 127, d4 = largest / -8;
    expect(fabs(half_value(bits8) - d8) <= 6e-4 * d8, "scale of q8_0");
    expect(fabs(half_value(bits4) - d4) <= 6e-4 * fabs(d4), "scale of q4_0");
    for (int j = 0; j < 32; j++) {
      int code = q4[18 * b + 2 + j % 16] >> (j < 16 ? 0 : 4) & 15;
      double value = x[32 * b + j], slack = 1e-5 * fabsf(largest);
      expect(fabs((int8_t)q8[34 * b + 2 + j] * d8 - value) <= d8 / 2 + slack, "q8_0 of %g", value);
      // The level opposite to the largest magnitude is missing: 7 instead of 8.
      expect(fabs((code - 8) * d4 - value) <= fabs(d4) * (code == 15 ? 1 : 0.5) + slack, "q4_0 of %g", value);
    }
  }
  free(x);
  free(found);
  free(q8);
  free(q4);
}

static void four_bits(ck_format format, long rows, long columns, long block_size) {
  long count = rows * columns, blocks = (count + block_size - 1) / block_size;
  float *x = random_floats(count, 5), *absmax = floats(blocks), *found = floats(count);
  uint8_t *codes = bytes((count + 1) / 2);
  ck_matrix matrix = {x, ck_float32, rows, columns, {0}};
  ck_quantize_4bit(&matrix, format, block_size, codes, absmax, 0, blocks / 2);
  ck_quantize_4bit(&matrix, format, block_size, codes, absmax, blocks / 2, blocks);
  int shift = 0;
  while (1l << shift < block_size) shift++;
  ck_matrix coded = {codes, format, rows, columns, {.absmax = absmax, .block_shift = shift}};
  for (long row = 0; row < rows; row++) ck_dequantize(&coded, row, 0, columns, found + row * columns);
  // The levels, read through the kernel itself: 16 codes with scale 1.
  float levels[16], one = 1;
  uint8_t every[8] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF};
  ck_matrix table = {every, format, 1, 16, {.absmax = &one, .block_shift = 6}};
  ck_dequantize(&table, 0, 0, 16, levels);
  for (long i = 0; i < count; i++) {
    long b = i / block_size;
    float largest = 0;
    for (long j = b * block_size; j < count && j < (b + 1) * block_size; j++) largest = fmaxf(largest, fabsf(x[j]));
    expect(absmax[b] == largest, "largest magnitude of block %ld", b);
    double nearest = INFINITY;
    for (int l = 0; l < 16; l++) nearest = fmin(nearest, fabs(levels[l] * (double)largest - x[i]));
    expect(
      fabs((double)found[i] - x[i]) <= nearest + 1e-6, "%s: nearest level of %g", format_name(format), (double)x[i]);
  }
  free(x);
  free(absmax);
  free(found);
  free(codes);
}

// A group's codes span its range: no element is off by more than half a step, and one end is met.
static void affine(long bits, long group_size) {
  long groups = 7, count = groups * group_size, size = count * bits / 8;
  float *x = random_floats(count, 5), *scales = floats(groups), *biases = floats(groups), *found = floats(count);
  for (long i = 0; i < group_size; i++) x[i] = 0, x[group_size + i] = fabsf(x[group_size + i]);
  uint8_t *codes = bytes(size);
  ck_quantize_affine(x, bits, group_size, codes, scales, biases, 0, 3);
  ck_quantize_affine(x, bits, group_size, codes, scales, biases, 3, groups);
  int shift = 0;
  while (1l << shift < group_size) shift++;
  ck_format format = bits == 4 ? ck_affine4 : ck_affine8;
  ck_matrix coded = {codes, format, 1, count, {.absmax = scales, .biases = biases, .block_shift = shift}};
  ck_dequantize(&coded, 0, 0, count, found);
  for (long group = 0; group < groups; group++) {
    float low = INFINITY, high = -INFINITY, largest = 0;
    for (long i = group * group_size; i < (group + 1) * group_size; i++) {
      low = fminf(low, x[i]), high = fmaxf(high, x[i]), largest = fmaxf(largest, fabsf(x[i]));
    }
    double step = (high - low) / (bits == 4 ? 15.0 : 255.0);
    bool met = false;
    for (long i = group * group_size; i < (group + 1) * group_size; i++) {
      met = met || (fabsf(x[i]) == largest && found[i] == x[i]);
      // The step is adjusted so that zero is a level; the far end may then be cut off by half a step.
      expect(fabs((double)found[i] - x[i]) <= 1.01 * step + 1e-6, "affine %ld of %g", bits, (double)x[i]);
    }
    expect(met, "affine %ld meets the end of group %ld", bits, group);
  }
  free(x);
  free(scales);
  free(biases);
  free(found);
  free(codes);
}

void test_quantizers(void) {
  conversions();
  blocks(1);
  blocks(9);
  four_bits(ck_nf4, 5, 64, 64);
  four_bits(ck_fp4, 5, 64, 64);
  four_bits(ck_nf4, 3, 101, 32);
  four_bits(ck_fp4, 3, 101, 128);
  affine(4, 64);
  affine(4, 32);
  affine(8, 128);
}
