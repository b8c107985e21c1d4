// Storage formats, dequantized 32 elements at a time into registers. Only this file knows their layouts: GEMM packing
// and GEMV are written once, on top of `dequantize32_*`.

// Eight bytes, or the nibbles of eight bytes, to eight floats.
INLINE v8 bytes_to_floats(const uint8_t *p) { return __builtin_convertvector(*(const u8x8 *)p, v8); }
INLINE v8 low_nibbles(const uint8_t *p) { return __builtin_convertvector(*(const u8x8 *)p & 15, v8); }
INLINE v8 high_nibbles(const uint8_t *p) { return __builtin_convertvector(*(const u8x8 *)p >> 4, v8); }
INLINE v8 signed_bytes(const int8_t *p) { return __builtin_convertvector(*(const s8x8 *)p, v8); }
INLINE i32x8 bytes_to_ints(const uint8_t *p) { return __builtin_convertvector(*(const u8x8 *)p, i32x8); }
INLINE v8 ints_to_floats(i32x8 x) { return __builtin_convertvector(x, v8); }

// A row of a matrix: its first byte. nf4 and fp4 have blocks that cross row boundaries, so they also need the matrix
// and the flattened index of the row's first element; other formats with scales apart need these too.
typedef struct {
  const uint8_t *bytes;
  const ck_matrix *matrix;
  long row, first;
} stored_row;

INLINE uint64_t load_u16(const uint8_t *p) {
  uint16_t bits;
  memcpy(&bits, p, 2);
  return bits;
}

INLINE float load_half(const uint8_t *p) {
#ifdef CK_AVX2
  // Through a general-purpose register: inserting into a vector would depend on its previous contents.
  return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128((int)load_u16(p))));
#else
  _Float16 x;
  memcpy(&x, p, 2);
  return (float)x;
#endif
}

INLINE void dequantize32_float32(stored_row row, long i, v8 out[4]) {
  for (int j = 0; j < 4; j++) out[j] = load8((const float *)row.bytes + i + 8 * j);
}

INLINE void dequantize32_float16(stored_row row, long i, v8 out[4]) {
  for (int j = 0; j < 4; j++) out[j] = __builtin_convertvector(*(const fp16x8 *)(row.bytes + 2 * (i + 8 * j)), v8);
}

INLINE void dequantize32_bfloat16(stored_row row, long i, v8 out[4]) {
  for (int j = 0; j < 4; j++) {
    i32x8 bits = __builtin_convertvector(*(const u16x8 *)(row.bytes + 2 * (i + 8 * j)), i32x8);
    out[j] = (v8)(bits << 16);
  }
}

// Block: d, 16 bytes of nibbles. Element j is in the low nibble of byte j, element 16 + j in the high one.
INLINE void dequantize32_q4_0(stored_row row, long i, v8 out[4]) {
  const uint8_t *block = row.bytes + i / 32 * 18;
  float d = load_half(block);
  for (int j = 0; j < 2; j++) {
    out[j] = (low_nibbles(block + 2 + 8 * j) - 8.0f) * d;
    out[j + 2] = (high_nibbles(block + 2 + 8 * j) - 8.0f) * d;
  }
}

// Block: d, m, nibbles as in q4_0.
INLINE void dequantize32_q4_1(stored_row row, long i, v8 out[4]) {
  const uint8_t *block = row.bytes + i / 32 * 20;
  float d = load_half(block), m = load_half(block + 2);
  for (int j = 0; j < 2; j++) {
    out[j] = low_nibbles(block + 4 + 8 * j) * d + m;
    out[j + 2] = high_nibbles(block + 4 + 8 * j) * d + m;
  }
}

// The fifth bits of elements 8j to 8j + 7 as 16.0 or 0.0; p holds one bit per element of the block.
INLINE v8 fifth_bits(const uint8_t *p, int j) {
  uint32_t bits;
  memcpy(&bits, p, 4);
  i32x8 lanes = (i32x8){0, 1, 2, 3, 4, 5, 6, 7};
  i32x8 shifted = (i32x8){} + (int32_t)(bits >> (8 * j) & 255);
  return ints_to_floats((shifted >> lanes & 1) << 4);
}

INLINE void dequantize32_q5_0(stored_row row, long i, v8 out[4]) {
  const uint8_t *block = row.bytes + i / 32 * 22;
  float d = load_half(block);
  for (int j = 0; j < 2; j++) {
    out[j] = (low_nibbles(block + 6 + 8 * j) + fifth_bits(block + 2, j) - 16.0f) * d;
    out[j + 2] = (high_nibbles(block + 6 + 8 * j) + fifth_bits(block + 2, j + 2) - 16.0f) * d;
  }
}

INLINE void dequantize32_q5_1(stored_row row, long i, v8 out[4]) {
  const uint8_t *block = row.bytes + i / 32 * 24;
  float d = load_half(block), m = load_half(block + 2);
  for (int j = 0; j < 2; j++) {
    out[j] = (low_nibbles(block + 8 + 8 * j) + fifth_bits(block + 4, j)) * d + m;
    out[j + 2] = (high_nibbles(block + 8 + 8 * j) + fifth_bits(block + 4, j + 2)) * d + m;
  }
}

INLINE void dequantize32_q8_0(stored_row row, long i, v8 out[4]) {
  const uint8_t *block = row.bytes + i / 32 * 34;
  float d = load_half(block);
  for (int j = 0; j < 4; j++) out[j] = signed_bytes((const int8_t *)block + 2 + 8 * j) * d;
}

// Block: 16 bytes with a 4-bit scale (low) and minimum (high) per 16 elements, 64 bytes of 2-bit codes, d, dmin.
INLINE void dequantize32_q2_K(stored_row row, long i, v8 out[4]) {
  const uint8_t *block = row.bytes + i / 256 * 84;
  long s = i % 256 / 32;
  const uint8_t *q = block + 16 + 32 * (s / 4);
  float d = load_half(block + 80), dmin = load_half(block + 82);
  for (int j = 0; j < 4; j++) {
    uint8_t scale = block[2 * s + j / 2];
    v8 value = ints_to_floats(bytes_to_ints(q + 8 * j) >> (int)(2 * (s % 4)) & 3);
    out[j] = value * (d * (scale & 15)) - dmin * (scale >> 4);
  }
}

// Block: 32 bytes of third bits, 64 bytes of 2-bit codes, 12 bytes with 16 6-bit scales, d.
INLINE void dequantize32_q3_K(stored_row row, long i, v8 out[4]) {
  const uint8_t *block = row.bytes + i / 256 * 110;
  long s = i % 256 / 32;
  const uint8_t *q = block + 32 + 32 * (s / 4), *scales = block + 96;
  float d = load_half(block + 108);
  for (int j = 0; j < 4; j++) {
    long n = 2 * s + j / 2;
    int low = n < 8 ? scales[n] & 15 : scales[n - 8] >> 4;
    int scale = (low | (scales[8 + n % 4] >> (2 * (n / 4)) & 3) << 4) - 32;
    i32x8 value = bytes_to_ints(q + 8 * j) >> (int)(2 * (s % 4)) & 3;
    i32x8 third = (bytes_to_ints(block + 8 * j) >> (int)s & 1) << 2;
    out[j] = ints_to_floats(value + third - 4) * (d * scale);
  }
}

// 6-bit scale and minimum of sub-block j; q4_K and q5_K pack eight pairs into 12 bytes.
INLINE void scale_and_minimum(const uint8_t *s, long j, int *scale, int *minimum) {
  if (j < 4) {
    *scale = s[j] & 63;
    *minimum = s[j + 4] & 63;
  } else {
    *scale = (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
    *minimum = s[j + 4] >> 4 | s[j] >> 6 << 4;
  }
}

// Block: d, dmin, 12 bytes of scales and minimums, 128 bytes of nibbles.
INLINE void dequantize32_q4_K(stored_row row, long i, v8 out[4]) {
  const uint8_t *block = row.bytes + i / 256 * 144;
  long s = i % 256 / 32;
  int scale, minimum;
  scale_and_minimum(block + 4, s, &scale, &minimum);
  float d = load_half(block) * scale, m = load_half(block + 2) * minimum;
  const uint8_t *q = block + 16 + 32 * (s / 2);
  for (int j = 0; j < 4; j++) out[j] = (s % 2 ? high_nibbles(q + 8 * j) : low_nibbles(q + 8 * j)) * d - m;
}

// Block: d, dmin, 12 bytes of scales and minimums, 32 bytes of fifth bits, 128 bytes of nibbles.
INLINE void dequantize32_q5_K(stored_row row, long i, v8 out[4]) {
  const uint8_t *block = row.bytes + i / 256 * 176;
  long s = i % 256 / 32;
  int scale, minimum;
  scale_and_minimum(block + 4, s, &scale, &minimum);
  float d = load_half(block) * scale, m = load_half(block + 2) * minimum;
  const uint8_t *q = block + 48 + 32 * (s / 2);
  for (int j = 0; j < 4; j++) {
    v8 fifth = ints_to_floats((bytes_to_ints(block + 16 + 8 * j) >> (int)s & 1) << 4);
    out[j] = ((s % 2 ? high_nibbles(q + 8 * j) : low_nibbles(q + 8 * j)) + fifth) * d - m;
  }
}

// Block: 128 bytes of low nibbles, 64 bytes of upper two bits, 16 signed scales, d.
INLINE void dequantize32_q6_K(stored_row row, long i, v8 out[4]) {
  const uint8_t *block = row.bytes + i / 256 * 210;
  long s = i % 256 / 32, in_half = s % 4;
  const uint8_t *low = block + 64 * (s / 4) + 32 * (in_half % 2), *high = block + 128 + 32 * (s / 4);
  const int8_t *scales = (const int8_t *)block + 192 + 2 * s;
  float d = load_half(block + 208);
  for (int j = 0; j < 4; j++) {
    v8 nibble = in_half < 2 ? low_nibbles(low + 8 * j) : high_nibbles(low + 8 * j);
    v8 upper = ints_to_floats((bytes_to_ints(high + 8 * j) >> (int)(2 * in_half) & 3) << 4);
    out[j] = (nibble + upper - 32.0f) * (d * scales[j / 2]);
  }
}

// Sixteen levels in order, by code.
typedef struct {
  v8 low, high;
} code_levels;

INLINE code_levels scaled_levels(const float levels[16], float scale) {
  return (code_levels){load8(levels) * scale, load8(levels + 8) * scale};
}

// The levels of eight codes from 0 to 15, in the low bits of `code` (the bits above them are ignored).
INLINE v8 level_of(code_levels levels, i32x8 code) {
#ifdef CK_AVX2
  // The low three bits of a code select the lane; the fourth, moved to the sign bit, selects the register.
  v8 from_low = _mm256_permutevar8x32_ps(levels.low, (__m256i)code),
     from_high = _mm256_permutevar8x32_ps(levels.high, (__m256i)code);
  return _mm256_blendv_ps(from_low, from_high, (__m256)(code << 28));
#else
  v8 x;
  for (int l = 0; l < 8; l++) x[l] = code[l] & 8 ? levels.high[code[l] & 7] : levels.low[code[l] & 7];
  return x;
#endif
}

// The nibbles of four bytes, the low one of each byte first; with garbage above the low four bits.
INLINE i32x8 nibbles_in_order(const uint8_t *p) {
  int32_t word;
  memcpy(&word, p, 4);
  return ((i32x8){} + word) >> (i32x8){0, 4, 8, 12, 16, 20, 24, 28};
}

static const float iq4_levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
// E2M1: sign, two exponent bits, one mantissa bit (OCP Microscaling Formats 1.0).
static const float e2m1_levels[16] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};

// Element j of 32 is in the low nibble of byte j, element 16 + j in the high one.
INLINE void split_nibbles32(const uint8_t *p, code_levels levels, v8 out[4]) {
  for (int j = 0; j < 2; j++) {
    i32x8 bytes = bytes_to_ints(p + 8 * j);
    out[j] = level_of(levels, bytes & 15);
    out[j + 2] = level_of(levels, bytes >> 4);
  }
}

// Block: d, nibbles as in q4_0.
INLINE void dequantize32_iq4_nl(stored_row row, long i, v8 out[4]) {
  const uint8_t *block = row.bytes + i / 32 * 18;
  split_nibbles32(block + 2, scaled_levels(iq4_levels, load_half(block)), out);
}

// Block: d, 16 bits with the upper two bits of eight scales, 4 bytes with their lower four, 8 times 16 bytes of
// nibbles.
INLINE void dequantize32_iq4_xs(stored_row row, long i, v8 out[4]) {
  const uint8_t *block = row.bytes + i / 256 * 136;
  long s = i % 256 / 32;
  int low = block[4 + s / 2] >> (4 * (s % 2)) & 15, high = (int)(load_u16(block + 2) >> (2 * s) & 3);
  split_nibbles32(block + 8 + 16 * s, scaled_levels(iq4_levels, load_half(block) * ((low | high << 4) - 32)), out);
}

// 2^(e - 127)
INLINE float power_of_two(uint8_t e) {
  uint32_t bits = e ? (uint32_t)e << 23 : 0x400000;
  float x;
  memcpy(&x, &bits, 4);
  return x;
}

// Block: an exponent, nibbles as in q4_0. An exponent of 255 is an ordinary one in GGML.
INLINE void dequantize32_mxfp4(stored_row row, long i, v8 out[4]) {
  const uint8_t *block = row.bytes + i / 32 * 17;
  float scale = *block == 255 ? 0x1p127f : power_of_two(*block), rest = *block == 255 ? 2 : 1;
  split_nibbles32(block + 1, scaled_levels(e2m1_levels, scale), out);
  for (int j = 0; j < 4; j++) out[j] *= rest;
}

// MXFP4 with its exponents apart.
INLINE void dequantize32_float4(stored_row row, long i, v8 out[4]) {
  uint8_t exponent = ((const uint8_t *)row.matrix->scales.absmax)[(row.first + i) >> row.matrix->scales.block_shift];
  code_levels levels = scaled_levels(e2m1_levels, exponent == 255 ? __builtin_nanf("") : power_of_two(exponent));
  for (int j = 0; j < 4; j++) out[j] = level_of(levels, nibbles_in_order(row.bytes + i / 2 + 4 * j));
}

// Number `i` of scales or biases of a float type.
INLINE float load_scale(const void *scales, ck_format type, long i) {
  switch (type) {
    case ck_float16: return load_half((const uint8_t *)scales + 2 * i);
    case ck_bfloat16: {
      uint32_t bits = (uint32_t)load_u16((const uint8_t *)scales + 2 * i) << 16;
      float x;
      memcpy(&x, &bits, 4);
      return x;
    }
    default: return ((const float *)scales)[i];
  }
}

// MLX's affine codes.
INLINE void dequantize32_affine4(stored_row row, long i, v8 out[4]) {
  const ck_scales *scales = &row.matrix->scales;
  long group = (row.first + i) >> scales->block_shift;
  float scale = load_scale(scales->absmax, scales->type, group), bias = load_scale(scales->biases, scales->type, group);
  for (int j = 0; j < 4; j++) out[j] = ints_to_floats(nibbles_in_order(row.bytes + i / 2 + 4 * j) & 15) * scale + bias;
}

INLINE void dequantize32_affine8(stored_row row, long i, v8 out[4]) {
  const ck_scales *scales = &row.matrix->scales;
  long group = (row.first + i) >> scales->block_shift;
  float scale = load_scale(scales->absmax, scales->type, group), bias = load_scale(scales->biases, scales->type, group);
  for (int j = 0; j < 4; j++) out[j] = bytes_to_floats(row.bytes + i + 8 * j) * scale + bias;
}

// E4M3 without infinities (arXiv:2209.05433).
INLINE v8 e4m3_to_floats(const uint8_t *p) {
  u16x8 bytes = __builtin_convertvector(*(const u8x8 *)p, u16x8);
  u16x8 bits = (bytes & 0x7F) << 7 | (bytes & 0x80) << 8;
  v8 x = __builtin_convertvector((fp16x8)bits, v8) * 256;
  return select8((bytes_to_ints(p) & 0x7F) == 0x7F, splat8(__builtin_nanf("")), x);
}

INLINE float float8_scale(stored_row row, long i) {
  const ck_scales *scales = &row.matrix->scales;
  long per_row = ((row.matrix->columns - 1) >> scales->block_shift) + 1;
  return load_scale(
    scales->absmax, scales->type, (row.row >> scales->row_shift) * per_row + (i >> scales->block_shift));
}

INLINE void dequantize32_float8(stored_row row, long i, v8 out[4]) {
  float scale = float8_scale(row, i);
  for (int j = 0; j < 4; j++) out[j] = e4m3_to_floats(row.bytes + i + 8 * j) * scale;
}

// Code books of bitsandbytes' 4-bit types: NF4 (arXiv:2305.14314) and FP4.
static const float nf4_levels[16] = {
  -0x1p+0f,       -0x1.647362p-1f, -0x1.0cd66p-1f, -0x1.94654p-2f, -0x1.23449ap-2f, -0x1.7a6a7ep-3f, -0x1.74f0e2p-4f,
  0.0f,           0x1.45f5fep-4f,  0x1.4995c6p-3f, 0x1.f809bap-3f, 0x1.5a0674p-2f,  0x1.c3497p-2f,   0x1.200f56p-1f,
  0x1.722766p-1f, 0x1p+0f,
};
// Sign, two exponent bits, one mantissa bit; multiples of 1/192.
static const float fp4_levels[16] = {
  0.0f,  0x1.555556p-8f,  0x1.555556p-1f,  0x1p+0f,  0x1.555556p-2f,  0x1p-1f,  0x1.555556p-3f,  0x1p-2f,
  -0.0f, -0x1.555556p-8f, -0x1.555556p-1f, -0x1p+0f, -0x1.555556p-2f, -0x1p-1f, -0x1.555556p-3f, -0x1p-2f,
};

// The scale of element `i` of the flattened matrix. Rounds after each operation, as bitsandbytes does.
INLINE float scale_of(const ck_scales *scales, long i) {
#pragma clang fp contract(off)
  long block = i >> scales->block_shift;
  if (!scales->map) return ((const float *)scales->absmax)[block];
  float scale = scales->map[((const uint8_t *)scales->absmax)[block]] * scales->nested_absmax[block >> 8];
  return scale + scales->offset;
}

INLINE float code_value(const ck_matrix *matrix, long i, const float levels[16]) {
  uint8_t byte = ((const uint8_t *)matrix->data)[i / 2];
  return levels[i % 2 ? byte & 15 : byte >> 4] * scale_of(&matrix->scales, i);
}

// Dequantizes 32 codes of one block, two per byte, through a table of 16 levels.
INLINE void lookup32(const uint8_t *bytes, const float levels[16], float scale, v8 out[4]) {
#ifdef CK_AVX2
  code_levels scaled = scaled_levels(levels, scale);
  for (int j = 0; j < 4; j++) {
    int32_t word;
    memcpy(&word, bytes + 4 * j, 4);
    out[j] = level_of(scaled, ((i32x8){} + word) >> (i32x8){4, 0, 12, 8, 20, 16, 28, 24});
  }
#else
  for (int j = 0; j < 4; j++) {
    v8 x;
    for (int l = 0; l < 8; l += 2) {
      uint8_t byte = bytes[4 * j + l / 2];
      x[l] = levels[byte >> 4];
      x[l + 1] = levels[byte & 15];
    }
    out[j] = x * scale;
  }
#endif
}

INLINE void dequantize32_codes(stored_row row, long i, const float levels[16], v8 out[4]) {
  long first = row.first + i;
  if (first % 32 == 0) {  // 32 elements of one block, starting on a byte boundary
    lookup32((const uint8_t *)row.matrix->data + first / 2, levels, scale_of(&row.matrix->scales, first), out);
    return;
  }
  for (int j = 0; j < 32; j++) out[j / 8][j % 8] = code_value(row.matrix, first + j, levels);
}

INLINE void dequantize32_nf4(stored_row row, long i, v8 out[4]) { dequantize32_codes(row, i, nf4_levels, out); }
INLINE void dequantize32_fp4(stored_row row, long i, v8 out[4]) { dequantize32_codes(row, i, fp4_levels, out); }

INLINE long row_bytes(ck_format format, long columns) {
  switch (format) {
    case ck_float32: return columns * 4;
    case ck_float16:
    case ck_bfloat16: return columns * 2;
    case ck_q4_0: return columns / 32 * 18;
    case ck_q4_1: return columns / 32 * 20;
    case ck_q5_0: return columns / 32 * 22;
    case ck_q5_1: return columns / 32 * 24;
    case ck_q8_0: return columns / 32 * 34;
    case ck_q2_K: return columns / 256 * 84;
    case ck_q3_K: return columns / 256 * 110;
    case ck_q4_K: return columns / 256 * 144;
    case ck_q5_K: return columns / 256 * 176;
    case ck_q6_K: return columns / 256 * 210;
    case ck_nf4:
    case ck_fp4: return 0;  // addressed by element, not by row
    case ck_iq4_nl: return columns / 32 * 18;
    case ck_iq4_xs: return columns / 256 * 136;
    case ck_mxfp4: return columns / 32 * 17;
    case ck_float4:
    case ck_affine4: return columns / 2;
    case ck_affine8:
    case ck_float8: return columns;
  }
  return 0;
}

INLINE stored_row row_of(const ck_matrix *matrix, long row) {
  const uint8_t *data = matrix->data;
  return (stored_row){data + row * row_bytes(matrix->format, matrix->columns), matrix, row, row * matrix->columns};
}

#define FORMATS(DO) \
  DO(float32)       \
  DO(float16)       \
  DO(bfloat16)      \
  DO(q4_0)          \
  DO(q4_1) DO(q5_0) DO(q5_1) DO(q8_0) DO(q2_K) DO(q3_K) DO(q4_K) DO(q5_K) DO(q6_K) DO(nf4) DO(fp4) LATER_FORMATS(DO)

// Formats that decode dequantizes, whatever the target.
#define LATER_FORMATS(DO) DO(iq4_nl) DO(iq4_xs) DO(mxfp4) DO(float4) DO(affine4) DO(affine8) DO(float8)

// Expands X(format) for a format that is known at run time, so that its loops are compiled with the format known.
#define FOR_FORMAT(format) \
  switch (format) { FORMATS(CASE_OF_FORMAT) }
#define CASE_OF_FORMAT(name) \
  case ck_##name: X(name) break;

// One element of a format without blocks of 32, for the remainder of a row.
INLINE float dequantize1(stored_row row, long i) {
  switch (row.matrix->format) {
    case ck_float32: return ((const float *)row.bytes)[i];
    case ck_float16: return load_half(row.bytes + 2 * i);
    case ck_nf4: return code_value(row.matrix, row.first + i, nf4_levels);
    case ck_fp4: return code_value(row.matrix, row.first + i, fp4_levels);
    case ck_float8: {
      uint8_t bytes[8] = {row.bytes[i]};
      return e4m3_to_floats(bytes)[0] * float8_scale(row, i);
    }
    default: {
      uint32_t bits = (uint32_t)((const uint16_t *)row.bytes)[i] << 16;
      float x;
      memcpy(&x, &bits, 4);
      return x;
    }
  }
}

void CK(ck_dequantize)(const ck_matrix *matrix, long row, long column, long count, float *out) {
  stored_row from = row_of(matrix, row);
  long i = 0;
#define X(format)                                              \
  for (; i + 32 <= count; i += 32) {                           \
    v8 x[4];                                                   \
    dequantize32_##format(from, column + i, x);                \
    for (int j = 0; j < 4; j++) store8(out + i + 8 * j, x[j]); \
  }
  FOR_FORMAT(matrix->format)
#undef X
  for (; i < count; i++) out[i] = dequantize1(from, column + i);
}

void CK(ck_convert_float16)(const float *x, uint16_t *out, long count) {
  for (long i = 0; i < count; i++) {
    _Float16 rounded = (_Float16)x[i];
    memcpy(out + i, &rounded, 2);
  }
}

void CK(ck_convert_bfloat16)(const float *x, uint16_t *out, long count) {
  for (long i = 0; i < count; i++) {
    uint32_t bits;
    memcpy(&bits, x + i, 4);
    bool nan = (bits & 0x7FFFFFFF) > 0x7F800000;
    out[i] = nan ? (uint16_t)(bits >> 16 | 64) : (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
  }
}
