// Storage formats, 32 elements at a time in registers. This is the only place that knows how each is laid out: the
// packing of a product and the dot products of decoding are written once over `widen32`.

// Eight elements from the low or high nibbles of eight bytes.
INLINE v8 bytes_to_floats(const uint8_t *p) { return __builtin_convertvector(*(const bytes8 *)p, v8); }
INLINE v8 low_nibbles(const uint8_t *p) { return __builtin_convertvector(*(const bytes8 *)p & 15, v8); }
INLINE v8 high_nibbles(const uint8_t *p) { return __builtin_convertvector(*(const bytes8 *)p >> 4, v8); }
INLINE v8 signed_bytes(const int8_t *p) { return __builtin_convertvector(*(const sbytes8 *)p, v8); }
INLINE i8x bytes_to_ints(const uint8_t *p) { return __builtin_convertvector(*(const bytes8 *)p, i8x); }
INLINE v8 ints_to_floats(i8x x) { return __builtin_convertvector(x, v8); }

INLINE float half(const uint8_t *p) {
  _Float16 x;
  memcpy(&x, p, 2);
  return (float)x;
}

INLINE void widen32_float32(const uint8_t *row, long i, v8 out[4]) {
  for (int j = 0; j < 4; j++) out[j] = load8((const float *)row + i + 8 * j);
}

INLINE void widen32_float16(const uint8_t *row, long i, v8 out[4]) {
  for (int j = 0; j < 4; j++) out[j] = __builtin_convertvector(*(const fp16x8 *)(row + 2 * (i + 8 * j)), v8);
}

INLINE void widen32_bfloat16(const uint8_t *row, long i, v8 out[4]) {
  for (int j = 0; j < 4; j++) {
    i8x bits = __builtin_convertvector(*(const halfs8 *)(row + 2 * (i + 8 * j)), i8x);
    out[j] = (v8)(bits << 16);
  }
}

// d, 16 bytes of nibbles: element j in the low nibble of byte j, element 16 + j in the high one.
INLINE void widen32_q4_0(const uint8_t *row, long i, v8 out[4]) {
  const uint8_t *block = row + i / 32 * 18;
  float d = half(block);
  for (int j = 0; j < 2; j++) {
    out[j] = (low_nibbles(block + 2 + 8 * j) - 8.0f) * d;
    out[j + 2] = (high_nibbles(block + 2 + 8 * j) - 8.0f) * d;
  }
}

// d, m, nibbles as above.
INLINE void widen32_q4_1(const uint8_t *row, long i, v8 out[4]) {
  const uint8_t *block = row + i / 32 * 20;
  float d = half(block), m = half(block + 2);
  for (int j = 0; j < 2; j++) {
    out[j] = low_nibbles(block + 4 + 8 * j) * d + m;
    out[j + 2] = high_nibbles(block + 4 + 8 * j) * d + m;
  }
}

// The fifth bits of 32 elements, bit j for element j, as 16.0 or 0.0.
INLINE v8 fifth_bits(const uint8_t *p, int j) {
  uint32_t bits;
  memcpy(&bits, p, 4);
  i8x lanes = (i8x){0, 1, 2, 3, 4, 5, 6, 7};
  i8x shifted = (i8x){} + (int32_t)(bits >> (8 * j) & 255);
  return ints_to_floats((shifted >> lanes & 1) << 4);
}

INLINE void widen32_q5_0(const uint8_t *row, long i, v8 out[4]) {
  const uint8_t *block = row + i / 32 * 22;
  float d = half(block);
  for (int j = 0; j < 2; j++) {
    out[j] = (low_nibbles(block + 6 + 8 * j) + fifth_bits(block + 2, j) - 16.0f) * d;
    out[j + 2] = (high_nibbles(block + 6 + 8 * j) + fifth_bits(block + 2, j + 2) - 16.0f) * d;
  }
}

INLINE void widen32_q5_1(const uint8_t *row, long i, v8 out[4]) {
  const uint8_t *block = row + i / 32 * 24;
  float d = half(block), m = half(block + 2);
  for (int j = 0; j < 2; j++) {
    out[j] = (low_nibbles(block + 8 + 8 * j) + fifth_bits(block + 4, j)) * d + m;
    out[j + 2] = (high_nibbles(block + 8 + 8 * j) + fifth_bits(block + 4, j + 2)) * d + m;
  }
}

INLINE void widen32_q8_0(const uint8_t *row, long i, v8 out[4]) {
  const uint8_t *block = row + i / 32 * 34;
  float d = half(block);
  for (int j = 0; j < 4; j++) out[j] = signed_bytes((const int8_t *)block + 2 + 8 * j) * d;
}

// 16 scale bytes (scale low, minimum high nibble, one for 16 elements), 64 bytes of two-bit values, d, dmin.
INLINE void widen32_q2_K(const uint8_t *row, long i, v8 out[4]) {
  const uint8_t *block = row + i / 256 * 84;
  long s = i % 256 / 32;
  const uint8_t *q = block + 16 + 32 * (s / 4);
  float d = half(block + 80), dmin = half(block + 82);
  for (int j = 0; j < 4; j++) {
    uint8_t scale = block[2 * s + j / 2];
    v8 value = ints_to_floats(bytes_to_ints(q + 8 * j) >> (int)(2 * (s % 4)) & 3);
    out[j] = value * (d * (scale & 15)) - dmin * (scale >> 4);
  }
}

// 32 bytes of third bits, 64 bytes of two-bit values, 12 bytes of 16 six-bit scales, d.
INLINE void widen32_q3_K(const uint8_t *row, long i, v8 out[4]) {
  const uint8_t *block = row + i / 256 * 110;
  long s = i % 256 / 32;
  const uint8_t *q = block + 32 + 32 * (s / 4), *scales = block + 96;
  float d = half(block + 108);
  for (int j = 0; j < 4; j++) {
    long n = 2 * s + j / 2;
    int low = n < 8 ? scales[n] & 15 : scales[n - 8] >> 4;
    int scale = (low | (scales[8 + n % 4] >> (2 * (n / 4)) & 3) << 4) - 32;
    i8x value = bytes_to_ints(q + 8 * j) >> (int)(2 * (s % 4)) & 3;
    i8x third = (bytes_to_ints(block + 8 * j) >> (int)s & 1) << 2;
    out[j] = ints_to_floats(value + third - 4) * (d * scale);
  }
}

// Scale and minimum j of the eight six-bit pairs that q4_K and q5_K pack into 12 bytes.
INLINE void scale_and_minimum(const uint8_t *s, long j, int *scale, int *minimum) {
  if (j < 4) {
    *scale = s[j] & 63;
    *minimum = s[j + 4] & 63;
  } else {
    *scale = (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
    *minimum = s[j + 4] >> 4 | s[j] >> 6 << 4;
  }
}

// d, dmin, 12 bytes of scales, 128 bytes of nibbles.
INLINE void widen32_q4_K(const uint8_t *row, long i, v8 out[4]) {
  const uint8_t *block = row + i / 256 * 144;
  long s = i % 256 / 32;
  int scale, minimum;
  scale_and_minimum(block + 4, s, &scale, &minimum);
  float d = half(block) * scale, m = half(block + 2) * minimum;
  const uint8_t *q = block + 16 + 32 * (s / 2);
  for (int j = 0; j < 4; j++) out[j] = (s % 2 ? high_nibbles(q + 8 * j) : low_nibbles(q + 8 * j)) * d - m;
}

// d, dmin, 12 bytes of scales, 32 bytes of fifth bits, 128 bytes of nibbles.
INLINE void widen32_q5_K(const uint8_t *row, long i, v8 out[4]) {
  const uint8_t *block = row + i / 256 * 176;
  long s = i % 256 / 32;
  int scale, minimum;
  scale_and_minimum(block + 4, s, &scale, &minimum);
  float d = half(block) * scale, m = half(block + 2) * minimum;
  const uint8_t *q = block + 48 + 32 * (s / 2);
  for (int j = 0; j < 4; j++) {
    v8 fifth = ints_to_floats((bytes_to_ints(block + 16 + 8 * j) >> (int)s & 1) << 4);
    out[j] = ((s % 2 ? high_nibbles(q + 8 * j) : low_nibbles(q + 8 * j)) + fifth) * d - m;
  }
}

// 128 bytes of low nibbles, 64 bytes of upper two bits, 16 signed scales, d.
INLINE void widen32_q6_K(const uint8_t *row, long i, v8 out[4]) {
  const uint8_t *block = row + i / 256 * 210;
  long s = i % 256 / 32, in_half = s % 4;
  const uint8_t *low = block + 64 * (s / 4) + 32 * (in_half % 2), *high = block + 128 + 32 * (s / 4);
  const int8_t *scales = (const int8_t *)block + 192 + 2 * s;
  float d = half(block + 208);
  for (int j = 0; j < 4; j++) {
    v8 nibble = in_half < 2 ? low_nibbles(low + 8 * j) : high_nibbles(low + 8 * j);
    v8 upper = ints_to_floats((bytes_to_ints(high + 8 * j) >> (int)(2 * in_half) & 3) << 4);
    out[j] = (nibble + upper - 32.0f) * (d * scales[j / 2]);
  }
}

INLINE long row_bytes(ck_format format, long columns) {
  switch (format) {
    case ck_float32: return columns * 4;
    case ck_float16: case ck_bfloat16: return columns * 2;
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
  }
  return 0;
}

// Runs X(widen32 function) for the format at hand, so that its loop is compiled with the format known.
#define FOR_FORMAT(format, X)                  \
  switch (format) {                            \
    case ck_float32: X(widen32_float32) break;   \
    case ck_float16: X(widen32_float16) break;   \
    case ck_bfloat16: X(widen32_bfloat16) break; \
    case ck_q4_0: X(widen32_q4_0) break;         \
    case ck_q4_1: X(widen32_q4_1) break;         \
    case ck_q5_0: X(widen32_q5_0) break;         \
    case ck_q5_1: X(widen32_q5_1) break;         \
    case ck_q8_0: X(widen32_q8_0) break;         \
    case ck_q2_K: X(widen32_q2_K) break;         \
    case ck_q3_K: X(widen32_q3_K) break;         \
    case ck_q4_K: X(widen32_q4_K) break;         \
    case ck_q5_K: X(widen32_q5_K) break;         \
    case ck_q6_K: X(widen32_q6_K) break;         \
  }

// One element of the formats without blocks, for what is left of a row after the last 32.
INLINE float widen1(ck_format format, const uint8_t *row, long i) {
  switch (format) {
    case ck_float32: return ((const float *)row)[i];
    case ck_float16: return half(row + 2 * i);
    default: {
      uint32_t bits = (uint32_t)((const uint16_t *)row)[i] << 16;
      float x;
      memcpy(&x, &bits, 4);
      return x;
    }
  }
}

void CK(ck_widen)(const ck_matrix *matrix, long row, long column, long count, float *out) {
  const uint8_t *data = (const uint8_t *)matrix->data + row * row_bytes(matrix->format, matrix->columns);
  long i = 0;
#define X(widen32)                                                    \
  for (; i + 32 <= count; i += 32) {                                  \
    v8 x[4];                                                          \
    widen32(data, column + i, x);                                     \
    for (int j = 0; j < 4; j++) store8(out + i + 8 * j, x[j]);        \
  }
  FOR_FORMAT(matrix->format, X)
#undef X
  for (; i < count; i++) out[i] = widen1(matrix->format, data, column + i);
}

void CK(ck_narrow_float16)(const float *x, uint16_t *out, long count) {
  for (long i = 0; i < count; i++) {
    _Float16 narrow = (_Float16)x[i];
    memcpy(out + i, &narrow, 2);
  }
}

void CK(ck_narrow_bfloat16)(const float *x, uint16_t *out, long count) {
  for (long i = 0; i < count; i++) {
    uint32_t bits;
    memcpy(&bits, x + i, 4);
    bool nan = (bits & 0x7FFFFFFF) > 0x7F800000;
    out[i] = nan ? (uint16_t)(bits >> 16 | 64) : (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
  }
}
