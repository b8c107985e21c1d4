// Tiled attention (FlashAttention; Dao et al. 2022, 2023): scores exist only for a tile of 32 queries per head times 64
// keys. The heads of a group are stacked as rows of one tile, so they share each packed key.

// Packs `columns` columns of b from n0 on, rows k0 to k0 + k, into a panel [k][panel_columns], zero-padded; b is [k,
// n], or [n, k] if transposed.
static void gather_panel(
  const float *b, long ldb, bool b_transposed, long n0, long columns, long k0, long k, float *panel) {
  if (columns < panel_columns) memset(panel, 0, k * panel_columns * sizeof(float));
  if (!b_transposed) {
    for (long p = 0; p < k; p++)
      for (long c8 = 0; c8 < columns; c8 += 8)
        store8(panel + p * panel_columns + c8, load8(b + (k0 + p) * ldb + n0 + c8));
    return;
  }
  for (long c8 = 0; c8 < columns; c8 += 8) {
    const float *rows = b + (n0 + c8) * ldb + k0;
    long p = 0;
    for (; p + 8 <= k; p += 8) {
      v8 block[8];
      for (int r = 0; r < 8; r++) block[r] = load8(rows + r * ldb + p);
      transpose8(block);
      for (int q = 0; q < 8; q++) store8(panel + (p + q) * panel_columns + c8, block[q]);
    }
    for (; p < k; p++)
      for (int r = 0; r < 8; r++) panel[p * panel_columns + c8 + r] = rows[r * ldb + p];
  }
}

// Single-threaded c [m, n] (+)= a . b; a is [m, k] or [k, m], b is [k, n] or [n, k] (transposed). n is a multiple of 8.
static void small_product(
  const float *a, long lda, bool a_transposed, const float *b, long ldb, bool b_transposed, float *c, long ldc, long m,
  long n, long k, bool accumulate) {
  const float *left = a;
  bool reads_rows = !a_transposed && CK(ck_reads_rows)(lda);
  if (!a_transposed && !reads_rows) {
    float *packed = scratch(1, CK(ck_packed_count)(m, k, false));
    CK(ck_pack_left)(packed, a, lda, false, false, m, k, 0, padded_rows(m) / tile_rows);
    left = packed;
  }
  long chunk = chunk_length(k, false);
  float *panel = scratch(2, max_words * panel_columns);
  for (long n0 = 0; n0 < n; n0 += panel_columns) {
    long columns = n - n0 < panel_columns ? n - n0 : panel_columns;
    for (long k0 = 0; k0 < k; k0 += chunk) {
      long length = k - k0 < chunk ? k - k0 : chunk;
      gather_panel(b, ldb, b_transposed, n0, columns, k0, length, panel);
      if (a_transposed)
        panel_times_columns(a + k0 * lda, lda, length, panel, m, columns, c + n0, ldc, accumulate || k0 > 0, NULL);
      else if (reads_rows)
        panel_times_rows(a + k0, lda, length, panel, m, columns, c + n0, ldc, accumulate || k0 > 0, NULL);
      else
        panel_times_tiles(
          left + k0 * padded_rows(m), tile_rows * length, length, panel, m, columns, c + n0, ldc, accumulate || k0 > 0,
          NULL);
    }
  }
}

typedef struct {
  long first_query, queries, first_key, last_key;
} block_range;

// The keys visible to the queries of a block.
INLINE block_range range_of_queries(const ck_attention *a, long block) {
  block_range r;
  r.first_query = block * ck_query_block;
  r.queries = a->query_count - r.first_query < ck_query_block ? a->query_count - r.first_query : ck_query_block;
  long past = a->key_count - a->query_count;
  r.last_key = past + r.first_query + r.queries;
  r.first_key = first_visible_key(a, past + r.first_query);
  return r;
}

// Copies [rows][heads * d] to [heads * rows][d], times `scale`.
static void gather_heads(const float *x, long ldx, long rows, long heads, long d, float scale, float *out) {
  for (long g = 0; g < heads; g++)
    for (long i = 0; i < rows; i++)
      for (long j = 0; j < d; j += 8) store8(out + (g * rows + i) * d + j, load8(x + i * ldx + g * d + j) * scale);
}

// Copies rows [key, key + present) of keys or values into a block of ck_key_block rows, zero-padded.
static void gather_rows(
  const float *shared, long shared_count, const float *own, long ld, long key, long present, long d, float *out) {
  for (long i = 0; i < present; i++) {
    long n = key + i;
    memcpy(out + i * d, n < shared_count ? shared + n * ld : own + (n - shared_count) * ld, d * sizeof(float));
  }
  memset(out + present * d, 0, (ck_key_block - present) * d * sizeof(float));
}
static void gather_keys(const ck_attention *a, long key, long present, float *out) {
  gather_rows(a->shared_k, a->shared_count, a->k, a->ldk, key, present, a->head_dim, out);
}
static void gather_values(const ck_attention *a, long key, long present, float *out) {
  gather_rows(a->shared_v, a->shared_count, a->v, a->ldv, key, present, a->head_dim, out);
}

// Caps a tile of scores, if the model does.
static void cap_scores(const ck_attention *a, float *scores, long count) {
  if (a->softcap > 0)
    for (long i = 0; i < count; i += 8) store8(scores + i, a->softcap * tanh8(load8(scores + i) / a->softcap));
}

// Masks the scores of keys that are after the query, before its window, or past the end of the block.
static void mask_scores(const ck_attention *a, block_range r, long key, long keys, float *scores, float hidden) {
  long past = a->key_count - a->query_count;
  for (long g = 0; g < a->group; g++)
    for (long i = 0; i < r.queries; i++) {
      long position = past + r.first_query + i;
      float *row = scores + (g * r.queries + i) * ck_key_block;
      long end = position + 1 - key < keys ? position + 1 - key : keys;
      for (long j = end > 0 ? end : 0; j < ck_key_block; j++) row[j] = hidden;
      long begin = a->window > 0 ? position + 1 - a->window - key : 0;
      for (long j = 0; j < begin && j < ck_key_block; j++) row[j] = hidden;
    }
}

void CK(ck_attention_forward)(const ck_attention *a, float *out, long ldo, float *lse, long ld_lse, long block) {
  block_range r = range_of_queries(a, block);
  if (a->query_count == 1 && a->shared_count == 0) {
    float *partial = scratch(3, CK(ck_attention_part_count)(a->group, a->head_dim));
    CK(ck_attention_part)(a, 0, 1, partial);
    CK(ck_attention_join)(partial, 1, a->group, a->head_dim, out, lse);
    return;
  }
  long d = a->head_dim, rows = r.queries * a->group;
  float *q = scratch(3, rows * d), *sum = scratch(4, rows * d), *scores = scratch(5, rows * ck_key_block);
  float *keys_block = scratch(6, ck_key_block * d), *statistics = scratch(7, 2 * rows);
  float *largest = statistics, *total = statistics + rows;
  gather_heads(a->q + r.first_query * a->ldq, a->ldq, r.queries, a->group, d, a->scale, q);
  memset(sum, 0, rows * d * sizeof(float));
  for (long i = 0; i < rows; i++) largest[i] = -INFINITY, total[i] = 0;

  for (long key = r.first_key; key < r.last_key; key += ck_key_block) {
    long keys = r.last_key - key < ck_key_block ? r.last_key - key : ck_key_block;
    gather_keys(a, key, keys, keys_block);
    small_product(q, d, false, keys_block, d, true, scores, ck_key_block, rows, ck_key_block, d, false);
    cap_scores(a, scores, rows * ck_key_block);
    mask_scores(a, r, key, keys, scores, -INFINITY);
    for (long i = 0; i < rows; i++) {
      float *row = scores + i * ck_key_block;
      v8 m = load8(row);
      for (long j = 8; j < ck_key_block; j += 8) m = max8(m, load8(row + j));
      float highest = max_lane(m);
      if (highest < largest[i]) highest = largest[i];
      if (highest == -INFINITY) {  // no visible key so far: the whole row is masked
        memset(row, 0, ck_key_block * sizeof(float));
        continue;
      }
      v8 weights = splat8(0);
      for (long j = 0; j < ck_key_block; j += 8) {
        v8 e = exp8(load8(row + j) - highest);
        store8(row + j, e);
        weights += e;
      }
      float shrink = expf(largest[i] - highest);
      total[i] = total[i] * shrink + sum_lanes8(weights);
      if (shrink != 1)
        for (long j = 0; j < d; j += 8) store8(sum + i * d + j, load8(sum + i * d + j) * shrink);
      largest[i] = highest;
    }
    gather_values(a, key, keys, keys_block);
    small_product(scores, ck_key_block, false, keys_block, d, false, sum, d, rows, d, ck_key_block, true);
  }

  for (long g = 0; g < a->group; g++)
    for (long i = 0; i < r.queries; i++) {
      long row = g * r.queries + i;
      float inverse = 1 / total[row];
      float *target = out + (r.first_query + i) * ldo + g * d;
      for (long j = 0; j < d; j += 8) store8(target + j, load8(sum + row * d + j) * inverse);
      if (lse) lse[(r.first_query + i) * ld_lse + g] = largest[row] + logf(total[row]);
    }
}

void CK(ck_attention_delta)(
  const float *out, const float *d_out, long ldo, long head_dim, long heads, float *delta, long begin, long end) {
  for (long i = begin; i < end; i++)
    for (long h = 0; h < heads; h++) {
      v8 sum = splat8(0);
      for (long j = 0; j < head_dim; j += 8)
        sum += load8(out + i * ldo + h * head_dim + j) * load8(d_out + i * ldo + h * head_dim + j);
      delta[i * heads + h] = sum_lanes8(sum);
    }
}

// Scores and dP of one tile to probabilities and score gradients: p = e^(s - lse), ds = p * (dp - delta) * scale, times
// the slope of the softcap, 1 - (s / softcap)^2.
static void tile_gradients(
  const ck_attention *a, const ck_attention_upstream *upstream, block_range r, float *scores, float *d_p) {
  for (long g = 0; g < a->group; g++)
    for (long i = 0; i < r.queries; i++) {
      float *p = scores + (g * r.queries + i) * ck_key_block, *dp = d_p + (g * r.queries + i) * ck_key_block;
      long statistic = (r.first_query + i) * upstream->ld_lse + g;
      float shift = upstream->lse[statistic], less = upstream->delta[statistic];
      for (long j = 0; j < ck_key_block; j += 8) {
        v8 s = load8(p + j), e = exp8(s - shift), ds = e * (load8(dp + j) - less) * a->scale;
        if (a->softcap > 0) {
          v8 ratio = max8(s, splat8(-a->softcap)) / a->softcap;  // masked scores are minus infinity
          ds *= 1.0f - ratio * ratio;
        }
        store8(p + j, e);
        store8(dp + j, ds);
      }
    }
}

// Stores rows of d floats, or adds them.
static void put_rows(const float *x, long rows, long d, float *out, long ldo, bool accumulate) {
  for (long i = 0; i < rows; i++)
    for (long j = 0; j < d; j += 8) {
      float *to = out + i * ldo + j;
      v8 value = load8(x + i * d + j);
      store8(to, accumulate ? load8(to) + value : value);
    }
}

// The opposite of gather_heads: puts [heads * queries][d] into the rows of a block's queries.
static void put_heads(const float *x, block_range r, long heads, long d, float *out, long ldo, bool accumulate) {
  for (long g = 0; g < heads; g++)
    put_rows(x + g * r.queries * d, r.queries, d, out + r.first_query * ldo + g * d, ldo, accumulate);
}

void CK(ck_attention_backward_q)(
  const ck_attention *a, const ck_attention_upstream *upstream, float *dq, long lddq, long block) {
  block_range r = range_of_queries(a, block);
  long d = a->head_dim, rows = r.queries * a->group;
  float *operands = scratch(3, 3 * rows * d), *q = operands, *d_sum = operands + rows * d,
        *result = operands + 2 * rows * d;
  float *squares = scratch(5, 2 * rows * ck_key_block), *scores = squares, *d_p = squares + rows * ck_key_block;
  float *keys_block = scratch(6, ck_key_block * d);
  gather_heads(a->q + r.first_query * a->ldq, a->ldq, r.queries, a->group, d, a->scale, q);
  gather_heads(upstream->d_out + r.first_query * upstream->ldo, upstream->ldo, r.queries, a->group, d, 1, d_sum);
  memset(result, 0, rows * d * sizeof(float));
  for (long key = r.first_key; key < r.last_key; key += ck_key_block) {
    long keys = r.last_key - key < ck_key_block ? r.last_key - key : ck_key_block;
    gather_values(a, key, keys, keys_block);
    small_product(d_sum, d, false, keys_block, d, true, d_p, ck_key_block, rows, ck_key_block, d, false);
    gather_keys(a, key, keys, keys_block);
    small_product(q, d, false, keys_block, d, true, scores, ck_key_block, rows, ck_key_block, d, false);
    cap_scores(a, scores, rows * ck_key_block);
    mask_scores(a, r, key, keys, scores, -INFINITY);
    tile_gradients(a, upstream, r, scores, d_p);
    small_product(d_p, ck_key_block, false, keys_block, d, false, result, d, rows, d, ck_key_block, true);
  }
  put_heads(result, r, a->group, d, dq, lddq, false);
}

void CK(ck_attention_backward_kv)(
  const ck_attention *a, const ck_attention_upstream *upstream, float *dq, long lddq, float *dk, float *dv, long ldd,
  long key, long keys, bool accumulate) {
  long d = a->head_dim, past = a->key_count - a->query_count;
  long longest = ck_query_block * a->group;
  float *operands = scratch(3, 3 * longest * d), *sums = scratch(4, 2 * ck_key_block * d);
  float *squares = scratch(5, 2 * longest * ck_key_block), *both = scratch(6, 2 * ck_key_block * d);
  float *k = both, *v = both + ck_key_block * d, *sum_k = sums, *sum_v = sums + ck_key_block * d;
  gather_keys(a, key, keys, k);
  gather_values(a, key, keys, v);
  memset(sums, 0, 2 * ck_key_block * d * sizeof(float));
  long blocks = (a->query_count + ck_query_block - 1) / ck_query_block;
  long first_block = key - past > 0 ? (key - past) / ck_query_block : 0;
  for (long q_block = first_block; q_block < blocks; q_block++) {
    block_range r = range_of_queries(a, q_block);
    if (r.first_key >= key + keys) break;
    long rows = r.queries * a->group;
    float *q = operands, *scaled_q = q + rows * d, *d_sum = scaled_q + rows * d;
    float *scores = squares, *d_p = squares + rows * ck_key_block;
    gather_heads(a->q + r.first_query * a->ldq, a->ldq, r.queries, a->group, d, 1, q);
    gather_heads(a->q + r.first_query * a->ldq, a->ldq, r.queries, a->group, d, a->scale, scaled_q);
    gather_heads(upstream->d_out + r.first_query * upstream->ldo, upstream->ldo, r.queries, a->group, d, 1, d_sum);
    small_product(scaled_q, d, false, k, d, true, scores, ck_key_block, rows, ck_key_block, d, false);
    cap_scores(a, scores, rows * ck_key_block);
    small_product(d_sum, d, false, v, d, true, d_p, ck_key_block, rows, ck_key_block, d, false);
    mask_scores(a, r, key, keys, scores, -INFINITY);
    tile_gradients(a, upstream, r, scores, d_p);
    small_product(scores, ck_key_block, true, d_sum, d, false, sum_v, d, ck_key_block, d, rows, true);
    small_product(d_p, ck_key_block, true, q, d, false, sum_k, d, ck_key_block, d, rows, true);
    if (dq) {
      float *share = scratch(7, longest * d);
      small_product(d_p, ck_key_block, false, k, d, false, share, d, rows, d, ck_key_block, false);
      put_heads(share, r, a->group, d, dq, lddq, key > 0);
    }
  }
  put_rows(sum_k, keys, d, dk, ldd, accumulate);
  put_rows(sum_v, keys, d, dv, ldd, accumulate);
}
