// Storage formats: random blocks and, element by element in double precision, what they stand for. The layouts are
// those of ggml-common.h, bitsandbytes, MLX and the OCP's 8-bit and microscaling formats.
#include "check.h"

const ck_format all_formats[format_count] = {ck_float32, ck_float16, ck_bfloat16, ck_q4_0,   ck_q4_1,   ck_q5_0,
                                             ck_q5_1,    ck_q8_0,    ck_q2_K,     ck_q3_K,   ck_q4_K,   ck_q5_K,
                                             ck_q6_K,    ck_nf4,     ck_fp4,      ck_iq4_nl, ck_iq4_xs, ck_mxfp4,
                                             ck_float4,  ck_affine4, ck_affine8,  ck_float8};

const char *format_name(ck_format format) {
  static const char *const names[] = {"float32", "float16", "bfloat16", "q4_0",    "q4_1",    "q5_0",  "q5_1", "q8_0",
                                      "q2_K",    "q3_K",    "q4_K",     "q5_K",    "q6_K",    "nf4",   "fp4",  "iq4_nl",
                                      "iq4_xs",  "mxfp4",   "float4",   "affine4", "affine8", "float8"};
  return names[format];
}

static const struct {
  long length, size;
  int halves[2];  // where the block's float16 scales are; -1: none
} layouts[] = {
  [ck_float32] = {1, 4, {-1, -1}},   [ck_float16] = {1, 2, {0, -1}},    [ck_bfloat16] = {1, 2, {-1, -1}},
  [ck_q4_0] = {32, 18, {0, -1}},     [ck_q4_1] = {32, 20, {0, 2}},      [ck_q5_0] = {32, 22, {0, -1}},
  [ck_q5_1] = {32, 24, {0, 2}},      [ck_q8_0] = {32, 34, {0, -1}},     [ck_q2_K] = {256, 84, {80, 82}},
  [ck_q3_K] = {256, 110, {108, -1}}, [ck_q4_K] = {256, 144, {0, 2}},    [ck_q5_K] = {256, 176, {0, 2}},
  [ck_q6_K] = {256, 210, {208, -1}}, [ck_nf4] = {1, 0, {-1, -1}},       [ck_fp4] = {1, 0, {-1, -1}},
  [ck_iq4_nl] = {32, 18, {0, -1}},   [ck_iq4_xs] = {256, 136, {0, -1}}, [ck_mxfp4] = {32, 17, {-1, -1}},
  [ck_float4] = {32, 16, {-1, -1}},  [ck_affine4] = {32, 16, {-1, -1}}, [ck_affine8] = {32, 32, {-1, -1}},
  [ck_float8] = {1, 1, {-1, -1}},
};

long block_length(ck_format format) { return layouts[format].length; }

double half_value(uint16_t bits) {
  int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  double magnitude = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
  return bits >> 15 ? -magnitude : magnitude;
}

double bfloat16_value(uint16_t bits) {
  uint32_t wide = (uint32_t)bits << 16;
  float x;
  memcpy(&x, &wide, 4);
  return x;
}

uint16_t nearest_bfloat16(double x) {
  // Candidates around the truncated value; ties to the even one.
  float f = (float)x;
  uint32_t wide;
  memcpy(&wide, &f, 4);
  uint16_t low = (uint16_t)(wide >> 16), high = (uint16_t)(low + 1);
  double below = fabs(x - bfloat16_value(low)), above = fabs(bfloat16_value(high) - x);
  return below < above || (below == above && low % 2 == 0) ? low : high;
}

static uint16_t halfword_at(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static double half_at(const uint8_t *p) { return half_value(halfword_at(p)); }

// Scale and minimum of sub-block j of q4_K and q5_K.
static void six_bit_pair(const uint8_t *s, long j, int *scale, int *minimum) {
  *scale = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
  *minimum = j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | (s[j] >> 6) << 4;
}

static const double iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

// A sign, `exponent_bits` and `mantissa_bits`, with subnormal numbers and without infinities.
static double small_float(int code, int exponent_bits, int mantissa_bits) {
  int mantissa = code & ((1 << mantissa_bits) - 1), exponent = code >> mantissa_bits & ((1 << exponent_bits) - 1);
  int bias = (1 << (exponent_bits - 1)) - 1;
  double magnitude = exponent ? ldexp((1 << mantissa_bits) + mantissa, exponent - bias - mantissa_bits)
                              : ldexp(mantissa, 1 - bias - mantissa_bits);
  return code >> (exponent_bits + mantissa_bits) & 1 ? -magnitude : magnitude;
}

// Element j of the block at p.
static double block_element(ck_format format, const uint8_t *p, long j) {
  long low32 = j % 16, sub = j / 32, in_sub = j % 32;
  int scale, minimum;
  switch (format) {
    case ck_float32: {
      float x;
      memcpy(&x, p, 4);
      return x;
    }
    case ck_float16: return half_at(p);
    case ck_bfloat16: return bfloat16_value(halfword_at(p));
    case ck_q4_0: return half_at(p) * ((j < 16 ? p[2 + low32] & 15 : p[2 + low32] >> 4) - 8);
    case ck_q4_1: return half_at(p) * (j < 16 ? p[4 + low32] & 15 : p[4 + low32] >> 4) + half_at(p + 2);
    case ck_q5_0: {
      int fifth = (p[2 + j / 8] >> j % 8 & 1) << 4;
      return half_at(p) * ((j < 16 ? p[6 + low32] & 15 : p[6 + low32] >> 4) + fifth - 16);
    }
    case ck_q5_1: {
      int fifth = (p[4 + j / 8] >> j % 8 & 1) << 4;
      return half_at(p) * ((j < 16 ? p[8 + low32] & 15 : p[8 + low32] >> 4) + fifth) + half_at(p + 2);
    }
    case ck_q8_0: return half_at(p) * (int8_t)p[2 + j];
    case ck_q2_K: {
      int code = p[16 + 32 * (j / 128) + in_sub] >> 2 * (sub % 4) & 3;
      return half_at(p + 80) * (p[j / 16] & 15) * code - half_at(p + 82) * (p[j / 16] >> 4);
    }
    case ck_q3_K: {
      const uint8_t *s = p + 96;
      long n = j / 16;
      int code = p[32 + 32 * (j / 128) + in_sub] >> 2 * (sub % 4) & 3, third = p[in_sub] >> sub & 1;
      int nibble = n < 8 ? s[n] & 15 : s[n - 8] >> 4, upper = s[8 + n % 4] >> 2 * (n / 4) & 3;
      return half_at(p + 108) * ((nibble | upper << 4) - 32) * (code + 4 * third - 4);
    }
    case ck_q4_K: {
      six_bit_pair(p + 4, sub, &scale, &minimum);
      uint8_t byte = p[16 + 32 * (sub / 2) + in_sub];
      return half_at(p) * scale * (sub % 2 ? byte >> 4 : byte & 15) - half_at(p + 2) * minimum;
    }
    case ck_q5_K: {
      six_bit_pair(p + 4, sub, &scale, &minimum);
      uint8_t byte = p[48 + 32 * (sub / 2) + in_sub];
      int fifth = (p[16 + in_sub] >> sub & 1) << 4;
      return half_at(p) * scale * ((sub % 2 ? byte >> 4 : byte & 15) + fifth) - half_at(p + 2) * minimum;
    }
    case ck_q6_K: {
      uint8_t byte = p[64 * (j / 128) + 32 * (sub % 2) + in_sub];
      int upper = p[128 + 32 * (j / 128) + in_sub] >> 2 * (sub % 4) & 3;
      int code = (sub % 4 < 2 ? byte & 15 : byte >> 4) | upper << 4;
      return half_at(p + 208) * (int8_t)p[192 + j / 16] * (code - 32);
    }
    case ck_iq4_nl: return half_at(p) * iq4_values[j < 16 ? p[2 + low32] & 15 : p[2 + low32] >> 4];
    case ck_iq4_xs: {
      int low = p[4 + sub / 2] >> 4 * (sub % 2) & 15, high = halfword_at(p + 2) >> 2 * sub & 3;
      uint8_t byte = p[8 + 16 * sub + in_sub % 16];
      return half_at(p) * ((low | high << 4) - 32) * iq4_values[in_sub < 16 ? byte & 15 : byte >> 4];
    }
    case ck_mxfp4: return ldexp(small_float(j < 16 ? p[1 + low32] & 15 : p[1 + low32] >> 4, 2, 1), p[0] - 127);
    default: break;  // scales are apart
  }
  abort();
}

static const double nf4_values[16] = {
  -1.0,
  -0.6961928009986877,
  -0.5250730514526367,
  -0.39491748809814453,
  -0.28444138169288635,
  -0.18477343022823334,
  -0.09105003625154495,
  0.0,
  0.07958029955625534,
  0.16093020141124725,
  0.24611230194568634,
  0.33791524171829224,
  0.44070982933044434,
  0.5626170039176941,
  0.7229568362236023,
  1.0};

static double code_level(ck_format format, int code) {
  if (format == ck_nf4) return nf4_values[code];
  static const double magnitudes[8] = {0, 0.0625 / 12, 8.0 / 12, 1, 4.0 / 12, 6.0 / 12, 2.0 / 12, 3.0 / 12};
  return (code & 8 ? -1 : 1) * magnitudes[code & 7];
}

// 4-bit codes; the scales are bytes with nested scales if the seed is odd.
static stored_matrix random_codes(ck_format format, long rows, long columns, uint64_t seed) {
  random_source source = {seed * 31 + 5};
  long count = rows * columns, shift = 6, blocks = (count + 63) >> shift;
  uint8_t *codes = bytes((count + 1) / 2);
  for (long i = 0; i < (count + 1) / 2; i++) codes[i] = (uint8_t)random_bits(&source);
  ck_scales scales = {.block_shift = (int)shift};
  double *block_scales = doubles(blocks);
  if (seed % 2) {
    uint8_t *absmax = bytes(blocks);
    float *map = random_floats(256, seed), *nested = random_floats((blocks + 255) / 256, seed + 1);
    for (long b = 0; b < blocks; b++) absmax[b] = (uint8_t)random_bits(&source);
    scales = (ck_scales){absmax, map, nested, 0.25f, (int)shift, NULL, ck_float32, 0};
    for (long b = 0; b < blocks; b++) {
      float product = map[absmax[b]] * nested[b / 256];
      block_scales[b] = (float)(product + 0.25f);
    }
  } else {
    float *absmax = random_floats(blocks, seed);
    for (long b = 0; b < blocks; b++) block_scales[b] = absmax[b];
    scales.absmax = absmax;
  }
  double *values = doubles(count);
  for (long i = 0; i < count; i++)
    values[i] = code_level(format, i % 2 ? codes[i / 2] & 15 : codes[i / 2] >> 4) * block_scales[i >> shift];
  free(block_scales);
  return (stored_matrix){{codes, format, rows, columns, scales}, values};
}

// Codes with scales and biases of a float type that depends on the seed, or with exponents.
static stored_matrix random_scaled(ck_format format, long rows, long columns, uint64_t seed) {
  random_source source = {seed * 37 + 11};
  bool tiles = format == ck_float8, halves = format == ck_float4 || format == ck_affine4;
  int shift = tiles && seed % 2 ? 62 : columns % 64 == 0 || tiles ? 6 : 5, row_shift = tiles ? (seed % 2 ? 62 : 1) : 0;
  long per_row = ((columns - 1) >> shift) + 1, blocks = (((rows - 1) >> row_shift) + 1) * per_row;
  long size = halves ? rows * columns / 2 : rows * columns;
  uint8_t *codes = bytes(size), *stored[2] = {bytes(4 * blocks), bytes(4 * blocks)};
  for (long i = 0; i < size; i++) {
    codes[i] = (uint8_t)random_bits(&source);
    if (tiles && (codes[i] & 127) == 127) codes[i] ^= 1;  // not a number
  }
  double *known[2] = {doubles(blocks), doubles(blocks)};
  ck_format type = (ck_format[]){ck_float32, ck_float16, ck_bfloat16}[seed % 3];
  for (int which = 0; which < 2; which++) {
    for (long b = 0; b < blocks; b++) {
      float x = random_float(&source);
      uint16_t half = (uint16_t)(random_bits(&source) & 0x83FF) | 0x3800, brain = nearest_bfloat16(x);
      if (format == ck_float4) {
        stored[which][b] = (uint8_t)(120 + random_bits(&source) % 8);
        known[which][b] = ldexp(1, stored[which][b] - 127);
      } else if (type == ck_float32) {
        memcpy(stored[which] + 4 * b, &x, 4);
        known[which][b] = x;
      } else {
        memcpy(stored[which] + 2 * b, type == ck_float16 ? &half : &brain, 2);
        known[which][b] = type == ck_float16 ? half_value(half) : bfloat16_value(brain);
      }
    }
  }
  double *values = doubles(rows * columns);
  for (long i = 0; i < rows * columns; i++) {
    long row = i / columns, column = i % columns, block = (row >> row_shift) * per_row + (column >> shift);
    int code = halves ? codes[i / 2] >> 4 * (i % 2) & 15 : codes[i];
    values[i] = (format == ck_float4 ? small_float(code, 2, 1)
                   : tiles           ? small_float(code, 4, 3)
                                     : code)
      * known[0][block];
    if (format == ck_affine4 || format == ck_affine8) values[i] += known[1][block];
  }
  free(known[0]);
  free(known[1]);
  ck_scales scales = {
    .absmax = stored[0], .biases = stored[1], .block_shift = shift, .row_shift = row_shift, .type = type};
  return (stored_matrix){{codes, format, rows, columns, scales}, values};
}

stored_matrix random_matrix(ck_format format, long rows, long columns, uint64_t seed) {
  if (format == ck_nf4 || format == ck_fp4) return random_codes(format, rows, columns, seed);
  if (format >= ck_float4) return random_scaled(format, rows, columns, seed);
  random_source source = {seed * 131 + 3};
  long length = layouts[format].length, size = layouts[format].size, blocks = rows * (columns / length);
  uint8_t *data = bytes(blocks * size);
  double *values = doubles(rows * columns);
  for (long b = 0; b < blocks; b++) {
    uint8_t *p = data + b * size;
    for (long i = 0; i < size; i++) p[i] = (uint8_t)random_bits(&source);
    for (int h = 0; h < 2; h++) {
      if (layouts[format].halves[h] < 0) continue;
      // Between 2^-4 and 1, of either sign, so that no block drowns the others.
      uint8_t *high = p + layouts[format].halves[h] + 1;
      *high = (uint8_t)((*high & 0x83) | (11 + (*high >> 2 & 3)) << 2);
    }
    if (format == ck_float32) {
      float x = random_float(&source);
      memcpy(p, &x, 4);
    }
    if (format == ck_mxfp4) p[0] = (uint8_t)(120 + p[0] % 8);
    if (format == ck_bfloat16) p[1] = (uint8_t)((p[1] & 0x80) | 0x3F);
    for (long j = 0; j < length; j++) values[b * length + j] = block_element(format, p, j);
  }
  return (stored_matrix){{data, format, rows, columns, {0}}, values};
}

void free_matrix(stored_matrix *stored) {
  free((void *)stored->matrix.data);
  free((void *)stored->matrix.scales.absmax);
  free((void *)stored->matrix.scales.biases);
  free((void *)stored->matrix.scales.map);
  free((void *)stored->matrix.scales.nested_absmax);
  free(stored->values);
}

void test_formats(void) {
  for (int f = 0; f < format_count; f++) {
    ck_format format = all_formats[f];
    long columns = block_length(format) == 1 ? 165 : 2 * block_length(format), rows = 5;
    for (uint64_t seed = 1; seed <= 2; seed++) {
      stored_matrix stored = random_matrix(format, rows, columns, seed);
      float *found = floats(rows * columns);
      for (long row = 0; row < rows; row++) {
        ck_dequantize(&stored.matrix, row, 0, 32, found + row * columns);
        ck_dequantize(&stored.matrix, row, 32, columns - 32, found + row * columns + 32);
      }
      expect_close(found, stored.values, rows * columns, 2.5e-7, "%s to float32", format_name(format));
      free(found);
      free_matrix(&stored);
    }
  }
}
