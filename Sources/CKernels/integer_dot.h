// Integer dot products for decode from quantized blocks. Each 32 activations become integers in units of their largest
// magnitude / (127 * 2^16) (2^15 for q8_0), about as fine as float32 itself, written as three signed base-256 digits.
// Codes times digits then add up in int32 without any error, four products per lane, and one multiplication by the
// scales of both sides makes the sum a float: no less exact than float32 arithmetic, in a fraction of the instructions.
//
// integer_dot_512.h has the version for AVX-512 VNNI, integer_dot_256.h the one for AVX2, AVX-VNNI and NEON dotprod.

#if defined(CK_AVX2)
// 4-bit code books, by table_dot.h.
#define TABLE_FORMATS(DO) DO(nf4) DO(fp4)
#define TABLE_FORMATS_AS_FLOAT(DO)
#else
#define TABLE_FORMATS(DO)
#define TABLE_FORMATS_AS_FLOAT(DO) DO(nf4) DO(fp4)
#endif

#if defined(CK_VNNI)
#define INTEGER_FORMATS(DO) DO(q4_0) DO(q4_1) DO(q5_0) DO(q5_1) DO(q8_0) DO(q4_K) DO(q5_K) DO(q6_K)
#define FLOAT_FORMATS(DO) DO(float32) DO(float16) DO(bfloat16) DO(q2_K) DO(q3_K) LATER_FORMATS(DO)
#elif defined(CK_DOT_INSTRUCTION)
#define INTEGER_FORMATS(DO) DO(q4_0) DO(q4_1) DO(q5_0) DO(q5_1) DO(q8_0) DO(q4_K) DO(q5_K) DO(q6_K)
#define FLOAT_FORMATS(DO) \
  DO(float32) DO(float16) DO(bfloat16) DO(q2_K) DO(q3_K) TABLE_FORMATS_AS_FLOAT(DO) LATER_FORMATS(DO)
#elif defined(CK_AVX2)
// q8_0 takes fewer instructions in float32 than as products of bytes that must not saturate.
#define INTEGER_FORMATS(DO) DO(q4_0) DO(q4_1) DO(q5_0) DO(q5_1) DO(q4_K) DO(q5_K) DO(q6_K)
#define FLOAT_FORMATS(DO) DO(float32) DO(float16) DO(bfloat16) DO(q8_0) DO(q2_K) DO(q3_K) LATER_FORMATS(DO)
#else
#define INTEGER_FORMATS(DO)
#define FLOAT_FORMATS(DO) FORMATS(DO)
#endif

INLINE bool uses_integer_dot(ck_format format) {
  switch (format) {
#define IS_INTEGER(name) \
  case ck_##name: return true;
    INTEGER_FORMATS(IS_INTEGER)
    default: return false;
  }
}

// What the stored codes exceed the signed ones by.
INLINE int code_offset(ck_format format) {
  return format == ck_q8_0 ? 128 : format == ck_q6_K ? 32 : format == ck_q5_0 ? 16 : format == ck_q4_0 ? 8 : 0;
}

INLINE bool uses_table_dot(ck_format format) {
  switch (format) {
#define IS_TABLE(name) \
  case ck_##name: return true;
    TABLE_FORMATS(IS_TABLE)
    default: return false;
  }
}

// A row of activations: as given, and as prepared by ck_gemv_prepare: the sums of each 32 elements, or for formats with
// integer dot products the groups of these.
typedef struct {
  const float *x, *prepared;
} prepared_row;

// Prefetches what a dot product reads 4 KB further on, into all caches: past the second-level cache (prefetchnta),
// Intel's processors read half as fast. The rows are contiguous.
enum { prefetch_distance = 4096 };
INLINE void prefetch(const uint8_t *p, long bytes) {
  for (long line = 0; line < bytes; line += 64) __builtin_prefetch(p + prefetch_distance + line);
}
