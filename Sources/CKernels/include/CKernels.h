// The inner loops. Every function works on one thread, on the range it is given; the caller (Tensors) spreads ranges
// over its worker pool. Arithmetic is float32, or as exact; products of pairs of bfloat16 are for those who ask. Each
// function exists once in source and is compiled for several instruction sets (targets/); the call goes to the best one
// that the processor has.
//
// Matrices are row-major; "ld" is the distance between rows in elements.
#ifndef CKERNELS_H
#define CKERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// How a matrix is stored. The blocks are GGML's (ggml-common.h): 32 or 256 elements of a row with their scales.
typedef enum {
  ck_float32, ck_float16, ck_bfloat16,
  ck_q4_0, ck_q4_1, ck_q5_0, ck_q5_1, ck_q8_0,
  ck_q2_K, ck_q3_K, ck_q4_K, ck_q5_K, ck_q6_K,
  ck_nf4, ck_fp4,
} ck_format;

// The scales of 4-bit codes, as bitsandbytes keeps them: one for each 2^block_shift elements of the flattened matrix.
// absmax holds floats; or, where `map` is not NULL, bytes b that stand for map[b] * nested_absmax[block / 256] + offset.
typedef struct {
  const void *absmax;
  const float *map, *nested_absmax;
  float offset;
  int block_shift;
} ck_scales;

// A matrix in memory: `rows` rows of `columns` elements, rows one after the other without gaps. 4-bit codes have two
// elements of the flattened matrix in a byte, the first in the high nibble, and their scales apart.
typedef struct {
  const void *data;
  ck_format format;
  long rows, columns;
  ck_scales scales;
} ck_matrix;

// "avx512bf16", "avx512", "avx2" or "portable": what this thread runs, the best that the processor has unless another was selected.
const char *ck_target(void);

// Makes this thread run the code for `name` from now on; false if the processor has no such code.
bool ck_select_target(const char *name);

// The processors in this process's affinity mask.
long ck_processors(void);

// Spins for a moment; for waiting loops.
void ck_pause(void);

// ---- formats.h ------------------------------------------------------------------------------------------------------

// Writes `count` elements of row `row`, from `column` on, to `out`. `column` is a multiple of 32.
void ck_widen(const ck_matrix *matrix, long row, long column, long count, float *out);

// float32 to float16 and bfloat16, to nearest even.
void ck_narrow_float16(const float *x, uint16_t *out, long count);
void ck_narrow_bfloat16(const float *x, uint16_t *out, long count);

// ---- quantize.h -----------------------------------------------------------------------------------------------------

// Blocks [block_begin, block_end) of a float matrix, flattened, as 4-bit codes (ck_nf4 or ck_fp4) with one absmax a block.
// block_size is a multiple of 32, at most 4096. A block that holds a value that is not finite gets a NaN.
void ck_quantize_4bit(
  const ck_matrix *x, ck_format format, long block_size, uint8_t *codes, float *absmax, long block_begin, long block_end);

// ---- blocks.h -------------------------------------------------------------------------------------------------------

// float32 to blocks of 32 elements.
void ck_narrow_q8_0(const float *x, uint8_t *out, long blocks);
void ck_narrow_q4_0(const float *x, uint8_t *out, long blocks);

// ---- packing.h, product.h, whole_dots.h, few_rows.h -------------------------------------------------------------------------------

// Columns of the result that a unit of work holds.
enum { ck_unit_columns = 32 };

// Rows of the left operand that a tile holds; depends on the target.
long ck_tile_rows(void);

// Whether the target multiplies pairs of bfloat16 and adds up in float32, twice as many at once as floats.
bool ck_multiplies_bfloat16(void);

// One term of a sum of products: left [m, k] times right, which is [n, k] if `transposed`, else [k, n]. The left operand
// is packed by ck_pack_left (left_stride 0), or the transpose of a matrix in memory with rows left_stride apart. With
// `pairs`, which packed operands and targets that can do it have, both sides are rounded to bfloat16.
typedef struct {
  const float *left;
  long left_stride, k;
  ck_matrix right;
  bool transposed, pairs;
} ck_term;

// Floats that a packed left operand takes.
long ck_packed_count(long m, long k, bool pairs);

// Packs tiles [tile_begin, tile_end) of a left operand [m, k], rows past m as zero: stretch of k by stretch, tile by
// tile, k by k the rows of a tile. Where a is [k, m], `transposed`, only pairs are packed.
void ck_pack_left(
  float *packed, const float *a, long lda, bool transposed, bool pairs, long m, long k, long tile_begin, long tile_end);

// Rows and units of 32 columns of a result that one call computes. row_begin is a multiple of ck_tile_rows().
typedef struct { long row_begin, row_end, unit_begin, unit_end; } ck_part;

// A part of  c [m, n] (+)= sum of terms. n is a multiple of 32 where a right operand is [k, n] in blocks. The order of
// additions depends on the shapes alone.
void ck_sum_of_products(
  const ck_term *terms, long term_count, long m, long n, float *c, long ldc, bool accumulate, const ck_part *part);

// Floats that one row of few takes once prepared for products with a matrix of this format.
long ck_prepared_count(ck_format format, long k);

// Prepares few rows x [m, k].
void ck_prepare_few_rows(const float *x, long ldx, long m, ck_format format, long k, float *out);

// Rows [row_begin, row_end) of the right operand [n, k] against few rows of x [m, k], which `prepared` was made from:
// y[i][row] (+)= x[i] . right[row]. Reads the right operand once, in its own format.
void ck_few_rows(
  const float *x, long ldx, const float *prepared, long m, const ck_matrix *right, float *y, long ldy, bool accumulate,
  long row_begin, long row_end);

// ---- attention.h, one_query.h ---------------------------------------------------------------------------------------

// One sequence and one key/value head with its `group` query heads. Query i of query_count stands at position
// key_count - query_count + i and sees keys up to its own position, at most `window` of them if window > 0. The first
// shared_count of the key_count keys and values, which other sequences may have too, are at shared_k and shared_v.
// Heads of a group lie side by side in a row of q and out. Sizes: head_size is a multiple of 8.
typedef struct {
  const float *q, *k, *v, *shared_k, *shared_v;
  long ldq, ldk, ldv;
  long query_count, key_count, shared_count, group, head_size, window;
  float scale;
} ck_attention;

enum { ck_query_block = 32, ck_key_block = 64 };

// Query block `block`: out and, where not NULL, log-sum-exp of each row's scores, lse [query_count, ld_lse], one column
// a query head.
void ck_attention_forward(const ck_attention *a, float *out, long ldo, float *lse, long ld_lse, long block);

// One query in parts, no more than keys that it sees: each finds what its share of these gives, ck_attention_part_count
// floats, and ck_attention_join makes the output of the group's heads from the parts' findings, one after the other.
enum { ck_most_parts = 16 };
long ck_attention_part_count(long group, long head_size);
void ck_attention_part(const ck_attention *a, long part, long parts, float *found);
void ck_attention_join(const float *found, long parts, long group, long head_size, float *out, float *lse);

// delta[i][g] = out . d_out for query rows [begin, end): what the softmax's gradient subtracts.
void ck_attention_delta(
  const float *out, const float *d_out, long ldo, long head_size, long heads, float *delta, long begin, long end);

// dq of one query block.
void ck_attention_backward_q(
  const ck_attention *a, const float *d_out, long ldo, const float *lse, const float *delta, long ld_lse, float *dq,
  long lddq, long block);

// dk and dv (+)= what the queries give to keys [first_key, first_key + keys), at most a block; dk and dv are the rows of
// these keys.
void ck_attention_backward_kv(
  const ck_attention *a, const float *d_out, long ldo, const float *lse, const float *delta, long ld_lse, float *dk,
  long lddk, float *dv, long lddv, long first_key, long keys, bool accumulate);

// ---- layers.h -------------------------------------------------------------------------------------------------------

// Rows [begin, end) of  out = x / rms(x) * (weight + offset), rms = sqrt(mean(x^2) + epsilon); inverse_rms [rows] may
// be NULL. With `residual` not NULL, x + residual is normed instead, and written to `sum`. weight may be NULL (ones).
void ck_rms_norm(
  const float *x, const float *residual, float *sum, const float *weight, float offset, float epsilon, float *out,
  float *inverse_rms, long columns, long begin, long end);

// The last of its steps: out = x * inverse_rms * (weight + offset), to the same bits.
void ck_rms_normed(
  const float *x, const float *weight, float offset, const float *inverse_rms, float *out, long columns, long begin,
  long end);

// dx (+)= gradient through the norm for rows [begin, end).
void ck_rms_norm_backward(
  const float *x, const float *weight, float offset, const float *inverse_rms, const float *d_out, float *dx,
  bool accumulate, long columns, long begin, long end);

// d_weight[columns begin..end) += sum over rows of d_out * x * inverse_rms.
void ck_rms_norm_weight_gradient(
  const float *x, const float *inverse_rms, const float *d_out, float *d_weight, long rows, long columns, long begin,
  long end);

// The same norm over each of `heads` stretches of head_size side by side in a row of x, in place; inverse_rms
// [rows, heads]. And its backward pass, in place in dx, x being what was normed.
void ck_head_norm(
  float *x, long ldx, long heads, long head_size, const float *weight, float offset, float epsilon, float *inverse_rms,
  long begin, long end);
void ck_head_norm_backward(
  const float *x, long ldx, long heads, long head_size, const float *weight, float offset, const float *inverse_rms,
  float *dx, long lddx, long begin, long end);

// d_weight[head_size] += sum over rows and heads.
void ck_head_norm_weight_gradient(
  const float *x, long ldx, long rows, long heads, long head_size, const float *inverse_rms, const float *dx, long lddx,
  float *d_weight);

// Rotates pairs (i, i + rotated/2) of each head of rows [begin, end), in place, by the angles whose cosines and sines
// are given, [rows, rotated/2]; backwards if `inverse`. Dimensions from `rotated` on stay as they are.
void ck_rotary(
  float *x, long ldx, long heads, long head_size, long rotated, const float *cosines, const float *sines, bool inverse,
  long begin, long end);

// Rows [begin, end) of out [rows, columns] = activation(gate) * up, where gate_up [rows, 2 * columns] holds gate and up
// side by side; activation: 0 SiLU, 1 GELU (tanh form). And d_gate_up from d_out.
void ck_gated(const float *gate_up, float *out, long columns, int activation, long begin, long end);
void ck_gated_backward(
  const float *gate_up, const float *d_out, float *d_gate_up, long columns, int activation, long begin, long end);

// y += x * scale, y = x * scale, for elements [begin, end).
void ck_add(float *y, const float *x, float scale, long begin, long end);
void ck_scale(float *y, const float *x, float scale, long begin, long end);

// y[row] += bias, for rows [begin, end); and bias' gradient: d_bias[columns begin..end) += sum over rows of dy.
void ck_add_bias(float *y, long ldy, const float *bias, long columns, long begin, long end);
void ck_column_sums(const float *dy, long lddy, long rows, float *d_bias, long begin, long end);

// Sum of squares of x in double precision.
double ck_sum_of_squares(const float *x, long count);

// Elements [begin, end) of out = x * mask / (1 - rate), mask drawn from a counter-based generator keyed by `key`.
void ck_dropout(const float *x, float *out, float rate, uint64_t key, bool accumulate, long begin, long end);

// ---- loss.h ---------------------------------------------------------------------------------------------------------

// x = cap * tanh(x / cap) for elements [begin, end).
void ck_softcap(float *x, float cap, long begin, long end);

// For rows [begin, end) of logits [rows, columns]: losses[row] = log sum exp(logits) - logits[target], and, if
// `gradient`, the logits are overwritten by (softmax - one_hot(target)) * scale. correct[row] tells whether the target
// has the largest logit; entropy[row] is that of the softmax, in nats. cap > 0: logits are cap * tanh(logit / cap).
// smoothing > 0: the target is (1 - smoothing) * one_hot(target) + smoothing / columns.
void ck_cross_entropy(
  float *logits, const int32_t *targets, long columns, float scale, float cap, float smoothing, bool gradient,
  float *losses, uint8_t *correct, float *entropy, long begin, long end);

// ---- optimizer.h ----------------------------------------------------------------------------------------------------

// The numbers of an AdamW step (Loshchilov and Hutter 2019): rest1 = 1 - beta1, which loses digits where it is taken of a
// float32, and correction1 = 1 - beta1^t; rest2 and correction2 likewise.
typedef struct {
  float learning_rate, beta1, rest1, beta2, rest2, epsilon, weight_decay, correction1, correction2, gradient_scale;
} ck_adamw_step;

// The numbers of a step of Lion (Chen et al. 2023); rest1 = 1 - beta1, rest2 likewise.
typedef struct {
  float learning_rate, beta1, rest1, beta2, rest2, weight_decay, gradient_scale;
} ck_lion_step;

// The numbers of a step of stochastic gradient descent with momentum, torch's.
typedef struct {
  float learning_rate, momentum, dampening, weight_decay, gradient_scale;
  bool nesterov, is_first;
} ck_sgd_step;

// Elements of a moment in bytes that share their largest magnitude.
enum { ck_moment_block = 256 };

// What a byte stands for, as a share of its block's largest magnitude: 256 rising levels (Dettmers 2015). `boundaries`
// are halfway between neighbours, the last one infinite; first[b] is the level of the least number whose first 16 bits
// are b.
typedef struct {
  const float *values, *boundaries;
  const uint8_t *first;
} ck_byte_map;

// A moment in bytes, with the largest magnitude of each block of ck_moment_block elements.
typedef struct {
  uint8_t *codes;
  float *absmax;
  ck_byte_map map;
} ck_byte_moment;

// One step on elements [begin, end).
void ck_adamw(
  float *weight, const float *gradient, float *m, float *v, const ck_adamw_step *step, long begin, long end);
void ck_lion(float *weight, const float *gradient, float *m, const ck_lion_step *step, long begin, long end);
// `buffer` may be NULL where there is no momentum.
void ck_sgd(float *weight, const float *gradient, float *buffer, const ck_sgd_step *step, long begin, long end);

// One step on blocks [block_begin, block_end) of `count` elements, the moments decoded, stepped and encoded again.
void ck_adamw_8bit(
  float *weight, const float *gradient, ck_byte_moment *m, ck_byte_moment *v, const ck_adamw_step *step, long count,
  long block_begin, long block_end);
void ck_lion_8bit(
  float *weight, const float *gradient, ck_byte_moment *m, const ck_lion_step *step, long count, long block_begin,
  long block_end);

// Adafactor (Shazeer and Stern 2018). means = means * decay + (1 - decay) * (mean of squares + epsilon), for rows or
// columns [begin, end); then the gradient, in place, divided by the root of row mean times column mean over `mean`, the
// mean of the row means. For a vector both at once, with a mean for each element.
void ck_adafactor_rows(
  const float *gradient, float *means, long columns, float scale, float epsilon, float decay, long begin, long end);
void ck_adafactor_columns(
  const float *gradient, float *means, long rows, long columns, float scale, float epsilon, float decay, long begin,
  long end);
void ck_adafactor_divide(
  float *gradient, const float *row_means, const float *column_means, float mean, long columns, float scale, long begin,
  long end);
void ck_adafactor_vector(
  float *gradient, float *squares, float scale, float epsilon, float decay, long begin, long end);

// ---- measure.h ------------------------------------------------------------------------------------------------------

// `rounds` times 96 multiply-adds of eight lanes; and a sum that reads `count` floats.
float ck_multiply_adds(long rounds, float x);
float ck_read_all(const float *x, long count);

#endif
