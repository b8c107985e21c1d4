// The inner loops. Every function works on the calling thread, on the range it is given; the caller (Tensors)
// distributes ranges over its thread pool. Arithmetic is at least as accurate as float32; bfloat16 products are opt-in.
// Each function has one source and is compiled for several instruction sets (targets/); calls go to the best one the
// processor supports.
//
// Matrices are row-major; "ld" is the distance between rows in elements.
#ifndef CKERNELS_H
#define CKERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Storage formats. Blocks are GGML's (ggml-common.h): 32 or 256 elements of a row with their scales. From nf4 on, with
// iq4_nl, iq4_xs and mxfp4 as exceptions, scales are apart from the codes.
typedef enum {
  ck_float32,
  ck_float16,
  ck_bfloat16,
  ck_q4_0,
  ck_q4_1,
  ck_q5_0,
  ck_q5_1,
  ck_q8_0,
  ck_q2_K,
  ck_q3_K,
  ck_q4_K,
  ck_q5_K,
  ck_q6_K,
  ck_nf4,
  ck_fp4,
  ck_iq4_nl,
  ck_iq4_xs,
  ck_mxfp4,
  ck_float4,
  ck_affine4,
  ck_affine8,
  ck_float8,
} ck_format;

// Scales that are apart from the codes.
//
// nf4, fp4: one per 2^block_shift elements of the flattened matrix. absmax holds floats, or, if `map` is not NULL,
// bytes b that stand for map[b] * nested_absmax[block / 256] + offset (double quantization).
//
// The others have whole blocks of 2^block_shift elements in a row. float4: absmax holds bytes b that stand for
// 2^(b - 127). affine4, affine8: a code times its scale in absmax, plus its bias in `biases`; both are of the float
// type `type`. float8: scales of this type too, one per 2^row_shift rows and 2^block_shift columns.
typedef struct {
  const void *absmax;
  const float *map, *nested_absmax;
  float offset;
  int block_shift;
  const void *biases;
  ck_format type;
  int row_shift;
} ck_scales;

// `rows` contiguous rows of `columns` elements. nf4 and fp4 hold two elements of the flattened matrix per byte, the
// first in the high nibble; float4 and affine4 two elements of a row, the first in the low one.
typedef struct {
  const void *data;
  ck_format format;
  long rows, columns;
  ck_scales scales;
} ck_matrix;

// The calling thread's target (a file name in targets/): the processor's best unless another was selected.
const char *ck_target(void);

// Selects a target for the calling thread; false if the processor does not support it.
bool ck_select_target(const char *name);

// The same, also for threads that have not used kernels yet.
bool ck_select_usual_target(const char *name);

// Whether the processor is one of Intel's, for which reading floats in order is faster with prefetching, and products
// are with packed operands. Set when the program starts.
extern bool ck_is_intel;

// The processors in this process's affinity mask.
long ck_processors(void);
// The processors in the mask, in ascending order: writes up to `capacity` numbers and returns how many there are.
long ck_processor_numbers(int *numbers, long capacity);

// A pause instruction for spin loops.
void ck_pause(void);

// ---- formats.h ------------------------------------------------------------------------------------------------------

// Dequantizes elements [column, column + count) of a row. `column` is a multiple of 32.
void ck_dequantize(const ck_matrix *matrix, long row, long column, long count, float *out);

// float32 to float16 and bfloat16, rounded to nearest even.
void ck_convert_float16(const float *x, uint16_t *out, long count);
void ck_convert_bfloat16(const float *x, uint16_t *out, long count);

// ---- quantize.h, quantize_k.h
// -----------------------------------------------------------------------------------------------------

// Quantizes blocks [block_begin, block_end) of a flattened float matrix to 4-bit codes (ck_nf4 or ck_fp4), one absmax
// per block. block_size is a multiple of 32, at most 4096. The absmax of a block with a non-finite value is NaN.
void ck_quantize_4bit(
  const ck_matrix *x, ck_format format, long block_size, uint8_t *codes, float *absmax, long block_begin,
  long block_end);

// Quantizes float32 to blocks of 32 elements.
void ck_quantize_q8_0(const float *x, uint8_t *out, long blocks);
void ck_quantize_q4_0(const float *x, uint8_t *out, long blocks);
void ck_quantize_q5_0(const float *x, uint8_t *out, long blocks);

// And to blocks of 256.
void ck_quantize_q4_K(const float *x, uint8_t *out, long blocks);
void ck_quantize_q6_K(const float *x, uint8_t *out, long blocks);

// Quantizes groups [group_begin, group_end) of group_size elements to MLX's affine codes of 4 or 8 bits.
void ck_quantize_affine(
  const float *x, long bits, long group_size, uint8_t *codes, float *scales, float *biases, long group_begin,
  long group_end);

// ---- packing.h, gemm.h, integer_dot.h, gemv.h
// -------------------------------------------------------------------------

// Columns of the result per unit of work.
enum { ck_unit_columns = 32 };

// Rows per tile of the left operand; depends on the target.
long ck_tile_rows(void);

// Whether the target multiplies pairs of bfloat16 and accumulates in float32, at twice the rate of float32.
bool ck_multiplies_bfloat16(void);

// Whether products read a left operand with rows `stride` floats apart as fast as a packed one.
bool ck_reads_rows(long stride);

// Whether wide products read the columns of a left operand, in rows `stride` floats apart, as fast as a packed one.
bool ck_reads_columns(long stride);

// One term of a sum of products: left [m, k] times right, [n, k] if `transposed`, else [k, n]. The left operand is
// packed by ck_pack_left (strides 0), or its element [i, p] is at i * row_stride + p * k_stride, where one of the
// strides is 1. With `pairs` (packed operands, and targets that support it) both sides are rounded to bfloat16.
typedef struct {
  const float *left;
  long row_stride, k_stride, k;
  ck_matrix right;
  bool transposed, pairs;
} ck_term;

// Size of a packed left operand in floats.
long ck_packed_count(long m, long k, bool pairs);

// Packs tiles [tile_begin, tile_end) of a left operand [m, k], or of the transpose of a [k, m]. Layout:
// chunk of k, tile, k, row. Rows past m are zero.
void ck_pack_left(
  float *packed, const float *a, long lda, bool transposed, bool pairs, long m, long k, long tile_begin, long tile_end);

// The rows and units of 32 columns of the result that one call computes. row_begin is a multiple of ck_tile_rows().
typedef struct {
  long row_begin, row_end, unit_begin, unit_end;
} ck_part;

// Computes a part of c [m, n] (+)= sum of terms. n is a multiple of 32 if a right operand is [k, n] in blocks. The
// order of additions depends on the shapes alone.
void ck_sum_of_products(
  const ck_term *terms, long term_count, long m, long n, float *c, long ldc, bool accumulate, const ck_part *part);

// The most rows of activations for ck_gemv; for more, the matrix is packed for ck_sum_of_products.
long ck_max_gemv_rows(ck_format format);

// The most rows of activations that are worth preparing for ck_gemv.
long ck_max_prepared_rows(ck_format format);

// Floats per prepared row of activations for GEMV with a matrix of this format.
long ck_gemv_prepared_count(ck_format format, long k);

// Prepares activations x [m, k] for ck_gemv.
void ck_gemv_prepare(const float *x, long ldx, long m, ck_format format, long k, float *out);

// GEMV for decode, m up to about 32: y[i][row] (+)= x[i] . right[row] for rows [row_begin, row_end) of right [n, k].
// Reads the right operand once, in its storage format. `prepared` was made from x; if it is NULL, each row of the right
// operand is dequantized once for all rows of x.
void ck_gemv(
  const float *x, long ldx, const float *prepared, long m, const ck_matrix *right, float *y, long ldy, bool accumulate,
  long row_begin, long row_end);

// ---- attention.h, decode_attention.h
// ---------------------------------------------------------------------------------

// One sequence and one key/value head with its `group` attention heads. Query i is at position key_count - query_count
// + i and attends to keys up to its own position, at most `window` of them if window > 0. The first shared_count keys
// and values, a prefix shared with other sequences, are at shared_k and shared_v. The heads of a group are adjacent in
// a row of q and out. head_dim is a multiple of 8. softcap > 0: scores are softcap * tanh(score / softcap).
typedef struct {
  const float *q, *k, *v, *shared_k, *shared_v;
  long ldq, ldk, ldv;
  long query_count, key_count, shared_count, group, head_dim, window;
  float scale, softcap;
} ck_attention;

enum { ck_query_block = 32, ck_key_block = 64 };

// Query block `block`: out and, if not NULL, the log-sum-exp of each row's scores, lse [query_count, ld_lse], a column
// per head.
void ck_attention_forward(const ck_attention *a, float *out, long ldo, float *lse, long ld_lse, long block);

// Decode attention, split along the keys into at most ck_max_parts parts (no more than visible keys). Each call writes
// a partial result of ck_attention_part_count floats; ck_attention_join combines them, stored contiguously, into the
// output.
enum { ck_max_parts = 16 };
long ck_attention_part_count(long group, long head_dim);
void ck_attention_part(const ck_attention *a, long part, long parts, float *partial);
void ck_attention_join(const float *partial, long parts, long group, long head_dim, float *out, float *lse);

// delta[i][head] = out . d_out for query rows [begin, end): the term the softmax gradient subtracts.
void ck_attention_delta(
  const float *out, const float *d_out, long ldo, long head_dim, long heads, float *delta, long begin, long end);

// What the backward pass needs besides, for the same queries and heads as a ck_attention: the gradient of the outputs,
// the log-sum-exp of the forward pass, and ck_attention_delta's result.
typedef struct {
  const float *d_out, *lse, *delta;
  long ldo, ld_lse;
} ck_attention_upstream;

// Gradient of the queries of one block.
void ck_attention_backward_q(
  const ck_attention *a, const ck_attention_upstream *upstream, float *dq, long lddq, long block);

// Gradients of keys and values [first_key, first_key + keys), at most one block; dk and dv point to these keys' rows.
// If dq is not NULL, adds these keys' share to the gradients of all queries, or stores it if first_key is 0: in the
// order of the keys, if all queries see the first key, that is what ck_attention_backward_q computes, to the bit.
void ck_attention_backward_kv(
  const ck_attention *a, const ck_attention_upstream *upstream, float *dq, long lddq, float *dk, float *dv, long ldd,
  long first_key, long keys, bool accumulate);

// ---- layers.h -------------------------------------------------------------------------------------------------------

// RMSNorm of rows [begin, end): out = x / rms(x) * (weight + offset), rms = sqrt(mean(x^2) + epsilon). inverse_rms
// [rows] may be NULL. If `residual` is not NULL, norms x + residual and writes that to `sum`. weight may be NULL
// (ones).
void ck_rms_norm(
  const float *x, const float *residual, float *sum, const float *weight, float offset, float epsilon, float *out,
  float *inverse_rms, long columns, long begin, long end);

// Recomputes out = x * inverse_rms * (weight + offset) with the same bits.
void ck_rms_norm_apply(
  const float *x, const float *weight, float offset, const float *inverse_rms, float *out, long columns, long begin,
  long end);

// dx (+)= the gradient through the norm, for rows [begin, end).
void ck_rms_norm_backward(
  const float *x, const float *weight, float offset, const float *inverse_rms, const float *d_out, float *dx,
  bool accumulate, long columns, long begin, long end);

// d_weight[columns begin..end) += sum over rows of d_out * x * inverse_rms.
void ck_rms_norm_weight_gradient(
  const float *x, const float *inverse_rms, const float *d_out, float *d_weight, long rows, long columns, long begin,
  long end);

// The same norm for each of `heads` heads of a row of x, in place; inverse_rms [rows, heads]. The backward pass is in
// place in dx and takes the x before the norm.
void ck_head_norm(
  float *x, long ldx, long heads, long head_dim, const float *weight, float offset, float epsilon, float *inverse_rms,
  long begin, long end);
void ck_head_norm_backward(
  const float *x, long ldx, long heads, long head_dim, const float *weight, float offset, const float *inverse_rms,
  float *dx, long lddx, long begin, long end);

// d_weight[head_dim] += sum over rows and heads.
void ck_head_norm_weight_gradient(
  const float *x, long ldx, long rows, long heads, long head_dim, const float *inverse_rms, const float *dx, long lddx,
  float *d_weight);

// Rotary embeddings, in place: rotates pairs (i, i + rotated / 2) of each head of rows [begin, end) by angles with the
// given cosines and sines [rows, rotated / 2]; backwards if `inverse`. Dimensions from `rotated` on are unchanged.
void ck_rotary(
  float *x, long ldx, long heads, long head_dim, long rotated, const float *cosines, const float *sines, bool inverse,
  long begin, long end);

// Gated unit: out [rows, columns] = activation(gate) * up for rows [begin, end), with gate and up adjacent in a row of
// gate_up [rows, 2 * columns]. activation: 0 SiLU, 1 GELU (tanh approximation), 2 sigmoid; or g * sigmoid(1.702 g) *
// (u + 1) with g = min(gate, 7) and u = up within -7 and 7, where gate and up alternate (3) or not (4). And d_gate_up
// from d_out.
void ck_gated(const float *gate_up, float *out, long columns, int activation, long begin, long end);
void ck_gated_backward(
  const float *gate_up, const float *d_out, float *d_gate_up, long columns, int activation, long begin, long end);

// y += x * scale and y = x * scale for elements [begin, end).
void ck_add(float *y, const float *x, float scale, long begin, long end);
void ck_scale(float *y, const float *x, float scale, long begin, long end);

// y[row] += bias for rows [begin, end); and the gradient of the bias, d_bias[begin..end) += sum over rows of dy.
void ck_add_bias(float *y, long ldy, const float *bias, long columns, long begin, long end);
void ck_column_sums(const float *dy, long lddy, long rows, float *d_bias, long begin, long end);

// Dot product of two vectors.
float ck_dot(const float *x, const float *y, long count);

// Sum of squares in double precision.
double ck_sum_of_squares(const float *x, long count);

// out = x * mask / (1 - rate) for elements [begin, end); the mask comes from a counter-based generator keyed by `key`.
void ck_dropout(const float *x, float *out, float rate, uint64_t key, bool accumulate, long begin, long end);

// out (+)= a * b for `columns` columns of rows [begin, end).
void ck_multiply(
  const float *a, long lda, const float *b, long ldb, float *out, long ldo, bool accumulate, long columns, long begin,
  long end);

// Depthwise causal convolution of rows [begin, end): out[i] = bias + sum over k of weight[k] * x[taps[i][k]], for each
// channel. taps [rows, length] are rows of x, -1 for none; weight [length, channels]; bias may be NULL.
void ck_convolution(
  const float *x, long channels, const int32_t *taps, long length, const float *weight, const float *bias, float *out,
  long begin, long end);

// Adds the gradients of x, of the weight and of the bias for channels [begin, end). d_weight and d_bias may be NULL.
void ck_convolution_backward(
  const float *x, long channels, const int32_t *taps, long length, const float *weight, const float *d_out, long rows,
  float *dx, float *d_weight, float *d_bias, long begin, long end);

// ---- delta.h --------------------------------------------------------------------------------------------------------

// The operands of the gated delta rule. A row of qkv holds the queries and keys of key_heads heads of key_dim, both of
// norm 1 (queries scaled), and the values of value_heads heads of value_dim, a multiple of 8. A row of gates holds, for
// each value head, the logarithm of the decay, then those of beta.
typedef struct {
  const float *qkv, *gates;
  long ld, key_heads, value_heads, key_dim, value_dim;
} ck_delta;

// Rows [begin, end) of one value head, which change its state [key_dim, value_dim] in place; out [rows, value_heads *
// value_dim] may be NULL.
void ck_delta_rule(const ck_delta *p, long head, long begin, long end, float *state, float *out);

// The gradients of the same rows, whose state before the first is `initial`. d_state is the gradient of the last state
// and becomes that of the first. Adds to d_qkv, with rows p->ld apart; sets d_gates.
void ck_delta_rule_backward(
  const ck_delta *p, long head, long begin, long end, const float *initial, const float *d_out, float *d_state,
  float *d_qkv, float *d_gates);

// The gates of rows [begin, end): log decay = -exp(a_log) * softplus(a + dt_bias) and beta = sigmoid(b), where a row of
// ba holds b and then a for each head. And their gradients for heads [begin, end); those of a_log and dt_bias are
// added, and may be NULL.
void ck_delta_gates(
  const float *ba, long ld, long heads, const float *a_log, const float *dt_bias, float *gates, long begin, long end);
void ck_delta_gates_backward(
  const float *ba, long ld, long heads, const float *a_log, const float *dt_bias, const float *d_gates, float *d_ba,
  float *d_a_log, float *d_dt_bias, long rows, long begin, long end);

// x * sigmoid(x) for elements [begin, end), and its gradient.
void ck_silu(const float *x, float *out, long begin, long end);
void ck_silu_backward(const float *x, const float *d_out, float *dx, long begin, long end);

// ---- loss.h ---------------------------------------------------------------------------------------------------------

// x = cap * tanh(x / cap) for elements [begin, end).
void ck_softcap(float *x, float cap, long begin, long end);

// For rows [begin, end) of logits [rows, columns]: losses[row] = log(sum(exp(logits))) - logits[target]. If `gradient`,
// overwrites the logits with (softmax - one_hot(target)) * scale. correct[row]: whether the target has the largest
// logit. entropy[row]: of the softmax, in nats. cap > 0: logits are cap * tanh(logit / cap). smoothing > 0: the target
// distribution is (1 - smoothing) * one_hot(target) + smoothing / columns. correct and entropy may be NULL.
void ck_cross_entropy(
  float *logits, const int32_t *targets, long columns, float scale, float cap, float smoothing, bool gradient,
  float *losses, uint8_t *correct, float *entropy, long begin, long end);

// For rows [begin, end) of logits [rows, columns] and a teacher's, each divided by the temperature, with softmax p and
// q: the generalized Jensen-Shannon divergence beta * KL(q | m) + (1 - beta) * KL(p | m) of m = (1 - beta) p + beta q;
// for beta = 0 KL(q | p), and for 1 KL(p | q). found[4 row] and found[4 row + 1] are the divergence, found[4 row + 2]
// whether the target has the largest logit, found[4 row + 3] the entropy of p. If `gradient`, the logits become their
// gradient times scale. cap > 0: logits (not the teacher's) are cap * tanh(logit / cap).
void ck_divergence(
  float *logits, const float *teacher, const int32_t *targets, long columns, float beta, float temperature, float scale,
  float cap, bool gradient, float *found, long begin, long end);

// For rows [begin, end) of logits [rows, columns]: found[2 row] = their mean, found[2 row + 1] = log(sum(p * p)) of the
// softmax p. cap > 0: of cap * tanh(logit / cap).
void ck_logit_statistics(const float *logits, long columns, float cap, float *found, long begin, long end);

// ---- sampling.h -----------------------------------------------------------------------------------------------------

// The largest of `count` floats; NaN counts as less than any number.
float ck_largest(const float *x, long count);

// The sum of e^(x / divisor - shift) over `count` floats.
double ck_exponential_sum(const float *x, long count, float divisor, float shift);

// The first index at which the sum of these weights up to and including it exceeds `position`; the last one that has a
// weight if none does.
long ck_pick_exponential(const float *x, long count, float divisor, float shift, double position);

// Writes the indices of all floats >= threshold in ascending order and returns how many there are. `indices` must have
// room for `count`.
long ck_at_least(const float *x, long count, float threshold, int32_t *indices);

// ---- optimizer.h ----------------------------------------------------------------------------------------------------

// Parameters of an AdamW step (Loshchilov and Hutter 2019). rest1 = 1 - beta1, passed separately because subtracting in
// float32 would lose digits; correction1 = 1 - beta1^t; rest2 and correction2 likewise.
typedef struct {
  float learning_rate, beta1, rest1, beta2, rest2, epsilon, weight_decay, correction1, correction2, gradient_scale;
} ck_adamw_step;

// Parameters of a Lion step (Chen et al. 2023).
typedef struct {
  float learning_rate, beta1, rest1, beta2, rest2, weight_decay, gradient_scale;
} ck_lion_step;

// Parameters of an SGD step with momentum, as in torch.
typedef struct {
  float learning_rate, momentum, dampening, weight_decay, gradient_scale;
  bool nesterov, is_first;
} ck_sgd_step;

// Elements of an 8-bit moment that share a scale.
enum { ck_moment_block = 256 };

// The dynamic 8-bit map (Dettmers 2015): 256 ascending levels relative to the block's largest magnitude. `boundaries`
// are the midpoints between neighbors, the last one infinite; first[b] is the level of the smallest number whose upper
// 16 bits are b.
typedef struct {
  const float *values, *boundaries;
  const uint8_t *first;
} ck_dynamic_map;

// An 8-bit moment, with the largest magnitude of each block of ck_moment_block elements.
typedef struct {
  uint8_t *codes;
  float *absmax;
  ck_dynamic_map map;
} ck_moment_8bit;

// Updates elements [begin, end).
void ck_adamw(
  float *weight, const float *gradient, float *m, float *v, const ck_adamw_step *step, long begin, long end);
void ck_lion(float *weight, const float *gradient, float *m, const ck_lion_step *step, long begin, long end);
// `buffer` may be NULL without momentum.
void ck_sgd(float *weight, const float *gradient, float *buffer, const ck_sgd_step *step, long begin, long end);

// Updates blocks [block_begin, block_end) of `count` elements: decodes the moments, steps, encodes them again.
void ck_adamw_8bit(
  float *weight, const float *gradient, ck_moment_8bit *m, ck_moment_8bit *v, const ck_adamw_step *step, long count,
  long block_begin, long block_end);
void ck_lion_8bit(
  float *weight, const float *gradient, ck_moment_8bit *m, const ck_lion_step *step, long count, long block_begin,
  long block_end);

// Adafactor (Shazeer and Stern 2018). means = means * decay + (1 - decay) * (mean of squares + epsilon) for rows or
// columns [begin, end). Then ck_adafactor_divide divides the gradient, in place, by sqrt(row mean * column mean /
// mean), with `mean` the mean of the row means. ck_adafactor_vector does both for a vector, with one mean per element.
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

// ---- benchmark.h ----------------------------------------------------------------------------------------------------

// `rounds` times 96 multiply-adds of eight lanes; and the sum of `count` floats.
float ck_multiply_adds(long rounds, float x);
float ck_read_all(const float *x, long count);

#endif
