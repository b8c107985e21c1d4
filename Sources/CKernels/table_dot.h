// Dot products with 4-bit codes of a table of floats (NF4, FP4) by byte shuffles (AVX2): 32 codes at a time are looked
// up in four tables, one for each byte of a level, and the bytes are interleaved to floats. The lookups of formats.h
// take twice the instructions, but leave the elements in order.

#if defined(CK_AVX2)
// The order in which each eight elements come out: even ones first.
INLINE void prepare_table_dot(const float *x, long k, float *out) {
  for (long i = 0; i + 8 <= k; i += 8) {
    v8 part = load8(x + i);
    store8(out + i, __builtin_shufflevector(part, part, 0, 2, 4, 6, 1, 3, 5, 7));
  }
}

// Byte i of each level.
static const uint8_t nf4_bytes[4][16] = {
  {0x00, 0xb1, 0x30, 0xa0, 0x4d, 0x3f, 0x71, 0x00, 0xff, 0xe3, 0xdd, 0x3a, 0xb8, 0xab, 0xb3, 0x00},
  {0x00, 0x39, 0x6b, 0x32, 0xa2, 0x35, 0x78, 0x00, 0xfa, 0xca, 0x04, 0x03, 0xa4, 0x07, 0x13, 0x00},
  {0x80, 0x32, 0x06, 0xca, 0x91, 0x3d, 0xba, 0x00, 0xa2, 0x24, 0x7c, 0xad, 0xe1, 0x10, 0x39, 0x80},
  {0xbf, 0xbf, 0xbf, 0xbe, 0xbe, 0xbe, 0xbd, 0x00, 0x3d, 0x3e, 0x3e, 0x3e, 0x3e, 0x3f, 0x3f, 0x3f}};
static const uint8_t fp4_bytes[4][16] = {
  {0x00, 0xab, 0xab, 0x00, 0xab, 0x00, 0xab, 0x00, 0x00, 0xab, 0xab, 0x00, 0xab, 0x00, 0xab, 0x00},
  {0x00, 0xaa, 0xaa, 0x00, 0xaa, 0x00, 0xaa, 0x00, 0x00, 0xaa, 0xaa, 0x00, 0xaa, 0x00, 0xaa, 0x00},
  {0x00, 0xaa, 0x2a, 0x80, 0xaa, 0x00, 0x2a, 0x80, 0x00, 0xaa, 0x2a, 0x80, 0xaa, 0x00, 0x2a, 0x80},
  {0x00, 0x3b, 0x3f, 0x3f, 0x3e, 0x3f, 0x3e, 0x3e, 0x80, 0xbb, 0xbf, 0xbf, 0xbe, 0xbf, 0xbe, 0xbe}};

INLINE float table_dot(prepared_row x, stored_row row, long k, const uint8_t bytes_of_levels[4][16]) {
  __m256i tables[4];
  for (int i = 0; i < 4; i++)
    tables[i] = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)bytes_of_levels[i]));
  const uint8_t *p = (const uint8_t *)row.matrix->data + row.first / 2;
  v8 total[2] = {};
  float rest = 0;
  long i = 0;
  for (; i + 32 <= k; i += 32, p += 16) {
    if (i % 128 == 0) __builtin_prefetch(p + prefetch_distance);
    __m128i bytes = _mm_loadu_si128((const __m128i *)p);
    __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_srli_epi16(bytes, 4)), bytes, 1);
    __m256i codes = _mm256_and_si256(both, _mm256_set1_epi8(15));
    __m256i b0 = _mm256_shuffle_epi8(tables[0], codes), b1 = _mm256_shuffle_epi8(tables[1], codes);
    __m256i b2 = _mm256_shuffle_epi8(tables[2], codes), b3 = _mm256_shuffle_epi8(tables[3], codes);
    __m256i low01 = _mm256_unpacklo_epi8(b0, b1), high01 = _mm256_unpackhi_epi8(b0, b1);
    __m256i low23 = _mm256_unpacklo_epi8(b2, b3), high23 = _mm256_unpackhi_epi8(b2, b3);
    v8 sum = (v8)_mm256_unpacklo_epi16(low01, low23) * load8(x.prepared + i);
    sum += (v8)_mm256_unpackhi_epi16(low01, low23) * load8(x.prepared + i + 8);
    sum += (v8)_mm256_unpacklo_epi16(high01, high23) * load8(x.prepared + i + 16);
    sum += (v8)_mm256_unpackhi_epi16(high01, high23) * load8(x.prepared + i + 24);
    total[i / 32 % 2] += sum * scale_of(&row.matrix->scales, row.first + i);
  }
  for (; i < k; i++) rest += x.x[i] * dequantize1(row, i);
  return rest + sum_lanes8(total[0] + total[1]);
}

// Rows that start inside of 32 codes take the lookups of formats.h.
#define TABLE_DOT(format)                                                                         \
  INLINE float table_dot_##format(prepared_row x, stored_row row, long k) {                       \
    return row.first % 32 ? float_dot_##format(x, row, k) : table_dot(x, row, k, format##_bytes); \
  }
TABLE_DOT(nf4)
TABLE_DOT(fp4)
#else
INLINE void prepare_table_dot(const float *x, long k, float *out) {}
#endif
