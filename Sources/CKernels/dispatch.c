// Forwards each call to the code for the best instruction set that the processor supports.
#ifdef __linux__
#define _GNU_SOURCE
#include <sched.h>
#include <sys/syscall.h>
#endif
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#include "CKernels.h"

long ck_processor_numbers(int *numbers, long capacity) {
  long count = 0;
#ifdef __linux__
  // The system refuses masks shorter than its own; it can be built for at most 8,192 processors.
  cpu_set_t allowed[8192 / CPU_SETSIZE];
  if (sched_getaffinity(0, sizeof allowed, allowed) == 0) {
    for (int number = 0; number < 8192; number++) {
      if (!CPU_ISSET_S(number, sizeof allowed, allowed)) continue;
      if (count < capacity) numbers[count] = number;
      count++;
    }
  }
  if (count > 0) return count;
#endif
  const long online = sysconf(_SC_NPROCESSORS_ONLN);
  for (; count < online || count == 0; count++) {
    if (count < capacity) numbers[count] = (int)count;
  }
  return count;
}

long ck_processors(void) { return ck_processor_numbers(NULL, 0); }

// The targets of this architecture, from the one that every processor has to the fastest.
#if defined(__x86_64__)
#define TARGETS(DO) DO(portable) DO(avx2) DO(avxvnni) DO(avx512) DO(avx512bf16) DO(amx)
#elif defined(__aarch64__)
#define TARGETS(DO) DO(neon) DO(dotprod) DO(bf16)
#else
#define TARGETS(DO) DO(portable)
#endif

#define ENUMERATOR(name) target_##name,
typedef enum { target_unknown, TARGETS(ENUMERATOR) target_count } target;
#define NAME(name) #name,
static const char *const names[] = {"", TARGETS(NAME)};

#if defined(__x86_64__)
static bool has_avx_vnni(void) {
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}

// Linux keeps the tiles of processes that have asked for them.
static bool has_amx(void) {
#if defined(__linux__) && defined(SYS_arch_prctl)
  enum { request_permission = 0x1023, tile_data = 18 };
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 22 & 1) && (d >> 24 & 1)
    && syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
  return false;
#endif
}

static bool has(target requested) {
  bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
    && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  switch (requested) {
    case target_portable: return true;
    case target_avx2: return has_avx2;
    case target_avxvnni: return has_avx2 && has_avx_vnni();
    case target_avx512: return has_avx512;
    case target_avx512bf16:
      return has_avx512 && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni");
    case target_amx: return has(target_avx512bf16) && has_amx();
    default: return false;
  }
}

void ck_pause(void) { _mm_pause(); }

// AMX has functions of its own for products alone.
#define CALL(name, arguments)                           \
  t >= target_avx512bf16  ? name##_avx512bf16 arguments \
    : t == target_avx512  ? name##_avx512 arguments     \
    : t == target_avxvnni ? name##_avxvnni arguments    \
    : t == target_avx2    ? name##_avx2 arguments       \
                          : name##_portable arguments
#define PRODUCT_CALL(name, arguments) t == target_amx ? name##_amx arguments : CALL(name, arguments)
#elif defined(__aarch64__)
#if defined(__APPLE__)
static bool has_feature(const char *name) {
  int value = 0;
  size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, NULL, 0) == 0 && value;
}
static bool has_dotprod(void) { return has_feature("hw.optional.arm.FEAT_DotProd"); }
static bool has_bf16(void) { return has_feature("hw.optional.arm.FEAT_BF16"); }
#elif defined(__linux__)
// Bits of <asm/hwcap.h>; older headers lack the second.
static bool has_dotprod(void) { return getauxval(AT_HWCAP) >> 20 & 1; }
static bool has_bf16(void) { return getauxval(AT_HWCAP2) >> 14 & 1; }
#else
static bool has_dotprod(void) { return false; }
static bool has_bf16(void) { return false; }
#endif

static bool has(target requested) {
  switch (requested) {
    case target_neon: return true;
    case target_dotprod: return has_dotprod();
    case target_bf16: return has_dotprod() && has_bf16();
    default: return false;
  }
}

void ck_pause(void) { __asm__ volatile("yield"); }

#define CALL(name, arguments) \
  t == target_bf16 ? name##_bf16 arguments : t == target_dotprod ? name##_dotprod arguments : name##_neon arguments
#else
static bool has(target requested) { return requested == target_portable; }
void ck_pause(void) {}
#define CALL(name, arguments) name##_portable arguments
#endif
#ifndef PRODUCT_CALL
#define PRODUCT_CALL CALL
#endif

bool ck_is_intel;

#if defined(__x86_64__)
__attribute__((constructor)) static void find_vendor(void) {
  __builtin_cpu_init();
  ck_is_intel = __builtin_cpu_is("intel");
}
#endif

// The calling thread's target. Per thread, so that a test of one target does not disturb others running concurrently.
static _Thread_local target chosen;
// The target of threads that have not chosen one; unknown for the best.
static atomic_int usual;

static target used(void) {
  if (chosen == target_unknown) chosen = (target)atomic_load_explicit(&usual, memory_order_relaxed);
  for (int best = target_count - 1; chosen == target_unknown; best--) {
    if (has((target)best)) chosen = (target)best;
  }
  return chosen;
}

const char *ck_target(void) { return names[used()]; }

// The target of this name, or unknown if the processor does not have it.
static target named(const char *name) {
  for (int t = target_unknown + 1; t < target_count; t++)
    if (strcmp(name, names[t]) == 0 && has((target)t)) return (target)t;
  return target_unknown;
}

bool ck_select_target(const char *name) {
  target found = named(name);
  if (found != target_unknown) chosen = found;
  return found != target_unknown;
}

bool ck_select_usual_target(const char *name) {
  atomic_store_explicit(&usual, named(name), memory_order_relaxed);
  return ck_select_target(name);
}

// Declares a function for each target, and defines the one that forwards to the target in use.
#if defined(__x86_64__)
#define DECLARE(type, name, parameters) \
  type name##_portable parameters;      \
  type name##_avx2 parameters;          \
  type name##_avxvnni parameters;       \
  type name##_avx512 parameters;        \
  type name##_avx512bf16 parameters;
#define DECLARE_PRODUCT(type, name, parameters) \
  DECLARE(type, name, parameters)               \
  type name##_amx parameters;
#elif defined(__aarch64__)
#define DECLARE(type, name, parameters) \
  type name##_neon parameters;          \
  type name##_dotprod parameters;       \
  type name##_bf16 parameters;
#else
#define DECLARE(type, name, parameters) type name##_portable parameters;
#endif
#ifndef DECLARE_PRODUCT
#define DECLARE_PRODUCT DECLARE
#endif
#define FORWARD(declare, call, type, name, parameters, arguments) \
  declare(type, name, parameters) type name parameters {          \
    target t = used();                                            \
    (void)t;                                                      \
    return call(name, arguments);                                 \
  }
#define DISPATCH(type, name, parameters, arguments) FORWARD(DECLARE, CALL, type, name, parameters, arguments)
#define PRODUCT_DISPATCH(type, name, parameters, arguments) \
  FORWARD(DECLARE_PRODUCT, PRODUCT_CALL, type, name, parameters, arguments)

DISPATCH(
  void, ck_dequantize, (const ck_matrix *matrix, long row, long column, long count, float *out),
  (matrix, row, column, count, out))
DISPATCH(void, ck_convert_float16, (const float *x, uint16_t *out, long count), (x, out, count))
DISPATCH(void, ck_convert_bfloat16, (const float *x, uint16_t *out, long count), (x, out, count))
DISPATCH(
  void, ck_quantize_4bit,
  (const ck_matrix *x, ck_format format, long block_size, uint8_t *codes, float *absmax, long block_begin,
   long block_end),
  (x, format, block_size, codes, absmax, block_begin, block_end))
DISPATCH(void, ck_quantize_q8_0, (const float *x, uint8_t *out, long blocks), (x, out, blocks))
DISPATCH(void, ck_quantize_q4_0, (const float *x, uint8_t *out, long blocks), (x, out, blocks))
DISPATCH(void, ck_quantize_q5_0, (const float *x, uint8_t *out, long blocks), (x, out, blocks))
DISPATCH(void, ck_quantize_q4_K, (const float *x, uint8_t *out, long blocks), (x, out, blocks))
DISPATCH(void, ck_quantize_q6_K, (const float *x, uint8_t *out, long blocks), (x, out, blocks))
DISPATCH(
  void, ck_quantize_affine,
  (const float *x, long bits, long group_size, uint8_t *codes, float *scales, float *biases, long group_begin,
   long group_end),
  (x, bits, group_size, codes, scales, biases, group_begin, group_end))
PRODUCT_DISPATCH(bool, ck_multiplies_bfloat16, (void), ())
PRODUCT_DISPATCH(long, ck_packed_count, (long m, long k, bool pairs), (m, k, pairs))
PRODUCT_DISPATCH(
  void, ck_pack_left,
  (float *packed, const float *a, long lda, bool transposed, bool pairs, long m, long k, long tile_begin,
   long tile_end),
  (packed, a, lda, transposed, pairs, m, k, tile_begin, tile_end))
PRODUCT_DISPATCH(long, ck_tile_rows, (void), ())
PRODUCT_DISPATCH(bool, ck_reads_rows, (long stride), (stride))
PRODUCT_DISPATCH(bool, ck_reads_columns, (long stride), (stride))
PRODUCT_DISPATCH(
  void, ck_sum_of_products,
  (const ck_term *terms, long term_count, long m, long n, float *c, long ldc, bool accumulate, const ck_part *part),
  (terms, term_count, m, n, c, ldc, accumulate, part))
DISPATCH(long, ck_max_gemv_rows, (ck_format format), (format))
DISPATCH(long, ck_max_prepared_rows, (ck_format format), (format))
DISPATCH(long, ck_gemv_prepared_count, (ck_format format, long k), (format, k))
DISPATCH(
  void, ck_gemv_prepare, (const float *x, long ldx, long m, ck_format format, long k, float *out),
  (x, ldx, m, format, k, out))
DISPATCH(
  void, ck_gemv,
  (const float *x, long ldx, const float *prepared, long m, const ck_matrix *right, float *y, long ldy, bool accumulate,
   long row_begin, long row_end),
  (x, ldx, prepared, m, right, y, ldy, accumulate, row_begin, row_end))
DISPATCH(
  void, ck_attention_forward, (const ck_attention *a, float *out, long ldo, float *lse, long ld_lse, long block),
  (a, out, ldo, lse, ld_lse, block))
DISPATCH(long, ck_attention_part_count, (long group, long head_dim), (group, head_dim))
DISPATCH(
  void, ck_attention_part, (const ck_attention *a, long part, long parts, float *partial), (a, part, parts, partial))
DISPATCH(
  void, ck_attention_join, (const float *partial, long parts, long group, long head_dim, float *out, float *lse),
  (partial, parts, group, head_dim, out, lse))
DISPATCH(
  void, ck_attention_delta,
  (const float *out, const float *d_out, long ldo, long head_dim, long heads, float *delta, long begin, long end),
  (out, d_out, ldo, head_dim, heads, delta, begin, end))
DISPATCH(
  void, ck_attention_backward_q,
  (const ck_attention *a, const ck_attention_upstream *upstream, float *dq, long lddq, long block),
  (a, upstream, dq, lddq, block))
DISPATCH(
  void, ck_attention_backward_kv,
  (const ck_attention *a, const ck_attention_upstream *upstream, float *dq, long lddq, float *dk, float *dv, long ldd,
   long first_key, long keys, bool accumulate),
  (a, upstream, dq, lddq, dk, dv, ldd, first_key, keys, accumulate))
DISPATCH(
  void, ck_rms_norm,
  (const float *x, const float *residual, float *sum, const float *weight, float offset, float epsilon, float *out,
   float *inverse_rms, long columns, long begin, long end),
  (x, residual, sum, weight, offset, epsilon, out, inverse_rms, columns, begin, end))
DISPATCH(
  void, ck_rms_norm_apply,
  (const float *x, const float *weight, float offset, const float *inverse_rms, float *out, long columns, long begin,
   long end),
  (x, weight, offset, inverse_rms, out, columns, begin, end))
DISPATCH(
  void, ck_rms_norm_backward,
  (const float *x, const float *weight, float offset, const float *inverse_rms, const float *d_out, float *dx,
   bool accumulate, long columns, long begin, long end),
  (x, weight, offset, inverse_rms, d_out, dx, accumulate, columns, begin, end))
DISPATCH(
  void, ck_rms_norm_weight_gradient,
  (const float *x, const float *inverse_rms, const float *d_out, float *d_weight, long rows, long columns, long begin,
   long end),
  (x, inverse_rms, d_out, d_weight, rows, columns, begin, end))
DISPATCH(
  void, ck_head_norm,
  (float *x, long ldx, long heads, long head_dim, const float *weight, float offset, float epsilon, float *inverse_rms,
   long begin, long end),
  (x, ldx, heads, head_dim, weight, offset, epsilon, inverse_rms, begin, end))
DISPATCH(
  void, ck_head_norm_backward,
  (const float *x, long ldx, long heads, long head_dim, const float *weight, float offset, const float *inverse_rms,
   float *dx, long lddx, long begin, long end),
  (x, ldx, heads, head_dim, weight, offset, inverse_rms, dx, lddx, begin, end))
DISPATCH(
  void, ck_head_norm_weight_gradient,
  (const float *x, long ldx, long rows, long heads, long head_dim, const float *inverse_rms, const float *dx, long lddx,
   float *d_weight),
  (x, ldx, rows, heads, head_dim, inverse_rms, dx, lddx, d_weight))
DISPATCH(
  void, ck_rotary,
  (float *x, long ldx, long heads, long head_dim, long rotated, const float *cosines, const float *sines, bool inverse,
   long begin, long end),
  (x, ldx, heads, head_dim, rotated, cosines, sines, inverse, begin, end))
DISPATCH(
  void, ck_gated, (const float *gate_up, float *out, long columns, int activation, long begin, long end),
  (gate_up, out, columns, activation, begin, end))
DISPATCH(
  void, ck_gated_backward,
  (const float *gate_up, const float *d_out, float *d_gate_up, long columns, int activation, long begin, long end),
  (gate_up, d_out, d_gate_up, columns, activation, begin, end))
DISPATCH(void, ck_add, (float *y, const float *x, float scale, long begin, long end), (y, x, scale, begin, end))
DISPATCH(void, ck_scale, (float *y, const float *x, float scale, long begin, long end), (y, x, scale, begin, end))
DISPATCH(
  void, ck_add_bias, (float *y, long ldy, const float *bias, long columns, long begin, long end),
  (y, ldy, bias, columns, begin, end))
DISPATCH(
  void, ck_column_sums, (const float *dy, long lddy, long rows, float *d_bias, long begin, long end),
  (dy, lddy, rows, d_bias, begin, end))
DISPATCH(float, ck_dot, (const float *x, const float *y, long count), (x, y, count))
DISPATCH(double, ck_sum_of_squares, (const float *x, long count), (x, count))
DISPATCH(
  void, ck_dropout, (const float *x, float *out, float rate, uint64_t key, bool accumulate, long begin, long end),
  (x, out, rate, key, accumulate, begin, end))
DISPATCH(
  void, ck_multiply,
  (const float *a, long lda, const float *b, long ldb, float *out, long ldo, bool accumulate, long columns, long begin,
   long end),
  (a, lda, b, ldb, out, ldo, accumulate, columns, begin, end))
DISPATCH(
  void, ck_convolution,
  (const float *x, long channels, const int32_t *taps, long length, const float *weight, const float *bias, float *out,
   long begin, long end),
  (x, channels, taps, length, weight, bias, out, begin, end))
DISPATCH(
  void, ck_convolution_backward,
  (const float *x, long channels, const int32_t *taps, long length, const float *weight, const float *d_out, long rows,
   float *dx, float *d_weight, float *d_bias, long begin, long end),
  (x, channels, taps, length, weight, d_out, rows, dx, d_weight, d_bias, begin, end))
DISPATCH(
  void, ck_delta_rule, (const ck_delta *p, long head, long begin, long end, float *state, float *out),
  (p, head, begin, end, state, out))
DISPATCH(
  void, ck_delta_rule_backward,
  (const ck_delta *p, long head, long begin, long end, const float *initial, const float *d_out, float *d_state,
   float *d_qkv, float *d_gates),
  (p, head, begin, end, initial, d_out, d_state, d_qkv, d_gates))
DISPATCH(
  void, ck_delta_gates,
  (const float *ba, long ld, long heads, const float *a_log, const float *dt_bias, float *gates, long begin, long end),
  (ba, ld, heads, a_log, dt_bias, gates, begin, end))
DISPATCH(
  void, ck_delta_gates_backward,
  (const float *ba, long ld, long heads, const float *a_log, const float *dt_bias, const float *d_gates, float *d_ba,
   float *d_a_log, float *d_dt_bias, long rows, long begin, long end),
  (ba, ld, heads, a_log, dt_bias, d_gates, d_ba, d_a_log, d_dt_bias, rows, begin, end))
DISPATCH(void, ck_silu, (const float *x, float *out, long begin, long end), (x, out, begin, end))
DISPATCH(
  void, ck_silu_backward, (const float *x, const float *d_out, float *dx, long begin, long end),
  (x, d_out, dx, begin, end))
DISPATCH(
  void, ck_cross_entropy,
  (float *logits, const int32_t *targets, long columns, float scale, float cap, float smoothing, bool gradient,
   float *losses, uint8_t *correct, float *entropy, long begin, long end),
  (logits, targets, columns, scale, cap, smoothing, gradient, losses, correct, entropy, begin, end))
DISPATCH(
  void, ck_divergence,
  (float *logits, const float *teacher, const int32_t *targets, long columns, float beta, float temperature,
   float scale, float cap, bool gradient, float *found, long begin, long end),
  (logits, teacher, targets, columns, beta, temperature, scale, cap, gradient, found, begin, end))
DISPATCH(float, ck_largest, (const float *x, long count), (x, count))
DISPATCH(
  double, ck_exponential_sum, (const float *x, long count, float divisor, float shift), (x, count, divisor, shift))
DISPATCH(
  long, ck_pick_exponential, (const float *x, long count, float divisor, float shift, double position),
  (x, count, divisor, shift, position))
DISPATCH(
  long, ck_at_least, (const float *x, long count, float threshold, int32_t *indices), (x, count, threshold, indices))
DISPATCH(
  void, ck_logit_statistics, (const float *logits, long columns, float cap, float *found, long begin, long end),
  (logits, columns, cap, found, begin, end))
DISPATCH(
  void, ck_adamw,
  (float *weight, const float *gradient, float *m, float *v, const ck_adamw_step *step, long begin, long end),
  (weight, gradient, m, v, step, begin, end))
DISPATCH(
  void, ck_lion, (float *weight, const float *gradient, float *m, const ck_lion_step *step, long begin, long end),
  (weight, gradient, m, step, begin, end))
DISPATCH(
  void, ck_sgd, (float *weight, const float *gradient, float *buffer, const ck_sgd_step *step, long begin, long end),
  (weight, gradient, buffer, step, begin, end))
DISPATCH(
  void, ck_adamw_8bit,
  (float *weight, const float *gradient, ck_moment_8bit *m, ck_moment_8bit *v, const ck_adamw_step *step, long count,
   long block_begin, long block_end),
  (weight, gradient, m, v, step, count, block_begin, block_end))
DISPATCH(
  void, ck_lion_8bit,
  (float *weight, const float *gradient, ck_moment_8bit *m, const ck_lion_step *step, long count, long block_begin,
   long block_end),
  (weight, gradient, m, step, count, block_begin, block_end))
DISPATCH(
  void, ck_adafactor_rows,
  (const float *gradient, float *means, long columns, float scale, float epsilon, float decay, long begin, long end),
  (gradient, means, columns, scale, epsilon, decay, begin, end))
DISPATCH(
  void, ck_adafactor_columns,
  (const float *gradient, float *means, long rows, long columns, float scale, float epsilon, float decay, long begin,
   long end),
  (gradient, means, rows, columns, scale, epsilon, decay, begin, end))
DISPATCH(
  void, ck_adafactor_divide,
  (float *gradient, const float *row_means, const float *column_means, float mean, long columns, float scale,
   long begin, long end),
  (gradient, row_means, column_means, mean, columns, scale, begin, end))
DISPATCH(
  void, ck_adafactor_vector,
  (float *gradient, float *squares, float scale, float epsilon, float decay, long begin, long end),
  (gradient, squares, scale, epsilon, decay, begin, end))
DISPATCH(void, ck_softcap, (float *x, float cap, long begin, long end), (x, cap, begin, end))
DISPATCH(float, ck_multiply_adds, (long rounds, float x), (rounds, x))
DISPATCH(float, ck_read_all, (const float *x, long count), (x, count))
