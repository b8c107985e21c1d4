// Tiled attention (FlashAttention; Dao et al. 2022, 2023): scores exist only for a tile of 32 queries per head times 64
// keys. The heads of a group are stacked as rows of one tile, so they share each packed key.

// A right operand [k, n] in panels [k][panel_columns], zero-padded. A tile's products are small, so an operand is
// packed once for all products that have it.
typedef struct {
  float *panels;
  long k, n;
} right_operand;

INLINE long panels_count(long k, long n) { return (n + panel_columns - 1) / panel_columns * panel_columns * k; }

// Packs rows [k0, k0 + k) of the operand from b, [k, n], or [n, k] if transposed. n is a multiple of 8.
static void pack_right(right_operand right, long k0, const float *b, long ldb, bool transposed, long k) {
  for (long n0 = 0; n0 < right.n; n0 += panel_columns) {
    float *panel = right.panels + n0 * right.k + k0 * panel_columns;
    long columns = right.n - n0 < panel_columns ? right.n - n0 : panel_columns;
    if (columns < panel_columns) memset(panel, 0, k * panel_columns * sizeof(float));
    if (!transposed) {
      for (long p = 0; p < k; p++)
        for (long c = 0; c < columns; c += 8) store8(panel + p * panel_columns + c, load8(b + p * ldb + n0 + c));
      continue;
    }
    for (long c = 0; c < columns; c += 8) {
      const float *rows = b + (n0 + c) * ldb;
      long p = 0;
      for (; p + 8 <= k; p += 8) {
        v8 block[8];
        for (int r = 0; r < 8; r++) block[r] = load8(rows + r * ldb + p);
        transpose8(block);
        for (int q = 0; q < 8; q++) store8(panel + (p + q) * panel_columns + c, block[q]);
      }
      for (; p < k; p++)
        for (int r = 0; r < 8; r++) panel[p * panel_columns + c + r] = rows[r * ldb + p];
    }
  }
}

// A left operand [m, k]: in tiles as ck_pack_left makes them, or as it lies with its columns or rows `stride` apart.
typedef struct {
  enum { in_tiles, in_columns, in_rows } layout;
  const float *data;
  long stride, m, k;
} left_operand;

INLINE long tiles_count(long m, long k) { return CK(ck_packed_count)(m, k, false); }

// The operand whose rows are at `a`; packed into `tiles` unless the kernels read rows as they lie.
static left_operand rows_operand(float *tiles, const float *a, long lda, long m, long k) {
  if (CK(ck_reads_rows)(lda)) return (left_operand){in_rows, a, lda, m, k};
  CK(ck_pack_left)(tiles, a, lda, false, false, m, k, 0, padded_rows(m) / tile_rows);
  return (left_operand){in_tiles, tiles, 0, m, k};
}

// Single-threaded c [m, n] (+)= left . right.
static void small_product(left_operand left, right_operand right, float *c, long ldc, bool accumulate) {
  long m = left.m, chunk = chunk_length(left.k, false);
  for (long n0 = 0; n0 < right.n; n0 += panel_columns) {
    long columns = right.n - n0 < panel_columns ? right.n - n0 : panel_columns;
    for (long k0 = 0; k0 < left.k; k0 += chunk) {
      long k = left.k - k0 < chunk ? left.k - k0 : chunk;
      const float *panel = right.panels + n0 * right.k + k0 * panel_columns;
      bool adds = accumulate || k0 > 0;
      if (left.layout == in_columns)
        panel_times_columns(left.data + k0 * left.stride, left.stride, k, panel, m, columns, c + n0, ldc, adds, NULL);
      else if (left.layout == in_rows)
        panel_times_rows(left.data + k0, left.stride, k, panel, m, columns, c + n0, ldc, adds, NULL);
      else
        panel_times_tiles(
          left.data + k0 * padded_rows(m), tile_rows * k, k, panel, m, columns, c + n0, ldc, adds, NULL);
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

// A tile: the rows of a block of queries and `keys` keys from `key` on, of which at least one query sees each. Its
// scores have `columns` columns, which end with a vector; those past the last key are masked.
typedef struct {
  long key, keys, columns;
} key_range;

INLINE key_range keys_of_tile(long key, long end) {
  const long whole = LANES < 8 ? 8 : LANES;
  long keys = end - key < ck_key_block ? end - key : ck_key_block;
  return (key_range){key, keys, (keys + whole - 1) / whole * whole};
}

// A tile's rows of keys or values as a right operand: [keys, d], or transposed [d, columns]. Columns past the last key
// may be any that exist, or zeros.
static right_operand pack_rows_of_tile(
  const ck_attention *a, const float *shared, const float *own, long ld, key_range tile, bool transposed,
  float *panels) {
  long d = a->head_dim, key = tile.key, shared_count = a->shared_count, rows = transposed ? tile.columns : tile.keys;
  right_operand right = transposed ? (right_operand){panels, d, rows} : (right_operand){panels, rows, d};
  const float *first = key < shared_count ? shared + key * ld : own + (key - shared_count) * ld;
  long ldb = ld;
  if (key + rows > (key < shared_count ? shared_count : a->key_count)) {
    float *block = scratch(6, ck_key_block * d);
    for (long i = 0; i < tile.keys; i++) {
      long n = key + i;
      memcpy(block + i * d, n < shared_count ? shared + n * ld : own + (n - shared_count) * ld, d * sizeof(float));
    }
    memset(block + tile.keys * d, 0, (rows - tile.keys) * d * sizeof(float));
    first = block;
    ldb = d;
  }
  pack_right(right, 0, first, ldb, transposed, right.k);
  return right;
}
static right_operand pack_keys(const ck_attention *a, key_range tile, bool transposed, float *panels) {
  return pack_rows_of_tile(a, a->shared_k, a->k, a->ldk, tile, transposed, panels);
}
static right_operand pack_values(const ck_attention *a, key_range tile, bool transposed, float *panels) {
  return pack_rows_of_tile(a, a->shared_v, a->v, a->ldv, tile, transposed, panels);
}

// Caps a tile of scores, if the model does.
static void cap_scores(const ck_attention *a, float *scores, long count) {
  if (a->softcap > 0)
    for (long i = 0; i < count; i += 8) store8(scores + i, a->softcap * tanh8(load8(scores + i) / a->softcap));
}

// Masks the scores of keys that are after the query, before its window, or past the tile's last one.
static void mask_scores(const ck_attention *a, block_range r, key_range tile, float *scores) {
  long past = a->key_count - a->query_count;
  for (long g = 0; g < a->group; g++)
    for (long i = 0; i < r.queries; i++) {
      long position = past + r.first_query + i;
      float *row = scores + (g * r.queries + i) * ck_key_block;
      long end = position + 1 - tile.key < tile.keys ? position + 1 - tile.key : tile.keys;
      for (long j = end > 0 ? end : 0; j < tile.columns; j++) row[j] = -INFINITY;
      long begin = a->window > 0 ? position + 1 - a->window - tile.key : 0;
      for (long j = 0; j < begin && j < tile.columns; j++) row[j] = -INFINITY;
    }
}

// Scores of a tile to weights e^(score - largest score of the row so far), the rows' totals and the sums so far to the
// same scale.
static void weigh_scores(float *scores, long rows, long columns, float *largest, float *total, float *sum, long d) {
  for (long i = 0; i < rows; i++) {
    float *row = scores + i * ck_key_block;
    v8 m = load8(row);
    for (long j = 8; j < columns; j += 8) m = max8(m, load8(row + j));
    float highest = max_lane(m);
    if (highest < largest[i]) highest = largest[i];
    if (highest == -INFINITY) {  // no visible key so far: the whole row is masked
      memset(row, 0, columns * sizeof(float));
      continue;
    }
    v8 weights = splat8(0);
    for (long j = 0; j < columns; j += 8) {
      v8 e = exp8(load8(row + j) - highest);
      store8(row + j, e);
      weights += e;
    }
    float shrink = largest[i] == highest ? 1 : expf(largest[i] - highest);
    total[i] = total[i] * shrink + sum_lanes8(weights);
    if (shrink != 1)
      for (long j = 0; j < d; j += 8) store8(sum + i * d + j, load8(sum + i * d + j) * shrink);
    largest[i] = highest;
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
  float *queries = scratch(3, rows * d), *sum = scratch(4, rows * d), *scores = scratch(5, rows * ck_key_block);
  float *tiles = scratch(1, tiles_count(rows, d) + tiles_count(rows, ck_key_block));
  float *score_tiles = tiles + tiles_count(rows, d);
  float *panels = scratch(2, panels_count(d, ck_key_block) + panels_count(ck_key_block, d));
  float *value_panels = panels + panels_count(d, ck_key_block);
  float *statistics = scratch(7, 2 * rows), *largest = statistics, *total = statistics + rows;
  gather_heads(a->q + r.first_query * a->ldq, a->ldq, r.queries, a->group, d, a->scale, queries);
  left_operand q = rows_operand(tiles, queries, d, rows, d);
  memset(sum, 0, rows * d * sizeof(float));
  for (long i = 0; i < rows; i++) largest[i] = -INFINITY, total[i] = 0;

  for (long key = r.first_key; key < r.last_key; key += ck_key_block) {
    key_range tile = keys_of_tile(key, r.last_key);
    right_operand k = pack_keys(a, tile, true, panels);
    small_product(q, k, scores, ck_key_block, false);
    cap_scores(a, scores, rows * ck_key_block);
    mask_scores(a, r, tile, scores);
    weigh_scores(scores, rows, tile.columns, largest, total, sum, d);
    right_operand v = pack_values(a, tile, false, value_panels);
    small_product(rows_operand(score_tiles, scores, ck_key_block, rows, tile.keys), v, sum, d, true);
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
  const ck_attention *a, const ck_attention_upstream *upstream, block_range r, long columns, float *scores,
  float *d_p) {
  for (long g = 0; g < a->group; g++)
    for (long i = 0; i < r.queries; i++) {
      float *p = scores + (g * r.queries + i) * ck_key_block, *dp = d_p + (g * r.queries + i) * ck_key_block;
      long statistic = (r.first_query + i) * upstream->ld_lse + g;
      float shift = upstream->lse[statistic], less = upstream->delta[statistic];
      for (long j = 0; j < columns; j += 8) {
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
  float *operands = scratch(3, 2 * rows * d), *result = scratch(4, rows * d);
  float *tiles = scratch(1, 2 * tiles_count(rows, d) + tiles_count(rows, ck_key_block));
  float *squares = scratch(5, 2 * rows * ck_key_block), *scores = squares, *d_p = squares + rows * ck_key_block;
  float *panels = scratch(2, panels_count(d, ck_key_block) + panels_count(ck_key_block, d));
  float *key_panels = panels + panels_count(d, ck_key_block);
  gather_heads(a->q + r.first_query * a->ldq, a->ldq, r.queries, a->group, d, a->scale, operands);
  gather_heads(
    upstream->d_out + r.first_query * upstream->ldo, upstream->ldo, r.queries, a->group, d, 1, operands + rows * d);
  left_operand q = rows_operand(tiles, operands, d, rows, d);
  left_operand d_sum = rows_operand(tiles + tiles_count(rows, d), operands + rows * d, d, rows, d);
  memset(result, 0, rows * d * sizeof(float));
  for (long key = r.first_key; key < r.last_key; key += ck_key_block) {
    key_range tile = keys_of_tile(key, r.last_key);
    right_operand v = pack_values(a, tile, true, panels);
    small_product(d_sum, v, d_p, ck_key_block, false);
    right_operand k = pack_keys(a, tile, true, panels);
    small_product(q, k, scores, ck_key_block, false);
    cap_scores(a, scores, rows * ck_key_block);
    mask_scores(a, r, tile, scores);
    tile_gradients(a, upstream, r, tile.columns, scores, d_p);
    right_operand keys = pack_keys(a, tile, false, key_panels);
    small_product(
      rows_operand(tiles + 2 * tiles_count(rows, d), d_p, ck_key_block, rows, tile.keys), keys, result, d, true);
  }
  put_heads(result, r, a->group, d, dq, lddq, false);
}

void CK(ck_attention_backward_kv)(
  const ck_attention *a, const ck_attention_upstream *upstream, float *dq, long lddq, float *dk, float *dv, long ldd,
  long key, long keys, bool accumulate) {
  long d = a->head_dim, past = a->key_count - a->query_count, longest = ck_query_block * a->group;
  float *operands = scratch(3, 2 * longest * d), *sums = scratch(4, 2 * ck_key_block * d);
  float *sum_k = sums, *sum_v = sums + ck_key_block * d;
  float *tiles = scratch(1, 2 * tiles_count(longest, d) + tiles_count(longest, ck_key_block));
  float *squares = scratch(5, 2 * longest * ck_key_block);
  float *panels =
    scratch(2, 2 * panels_count(d, ck_key_block) + panels_count(ck_key_block, d) + panels_count(longest, d));
  float *value_panels = panels + panels_count(d, ck_key_block),
        *key_panels = value_panels + panels_count(d, ck_key_block);
  float *query_panels = key_panels + panels_count(ck_key_block, d);
  // All keys, though only the last queries may see them: of each tile, the panels of those that are seen come first.
  key_range all = keys_of_tile(key, key + keys);
  right_operand k = pack_keys(a, all, true, panels);
  right_operand v = pack_values(a, all, true, value_panels);
  right_operand keys_by_row = {0};
  if (dq) keys_by_row = pack_keys(a, all, false, key_panels);
  memset(sums, 0, 2 * ck_key_block * d * sizeof(float));
  long blocks = (a->query_count + ck_query_block - 1) / ck_query_block;
  long first_block = key - past > 0 ? (key - past) / ck_query_block : 0;
  for (long q_block = first_block; q_block < blocks; q_block++) {
    block_range r = range_of_queries(a, q_block);
    if (r.first_key >= key + keys) break;
    long rows = r.queries * a->group;
    key_range tile = keys_of_tile(key, key + keys < r.last_key ? key + keys : r.last_key);
    k.n = v.n = tile.columns;
    float *scores = squares, *d_p = squares + rows * ck_key_block, *d_sum = operands + rows * d;
    const float *queries = a->q + r.first_query * a->ldq;
    gather_heads(queries, a->ldq, r.queries, a->group, d, a->scale, operands);
    gather_heads(upstream->d_out + r.first_query * upstream->ldo, upstream->ldo, r.queries, a->group, d, 1, d_sum);
    small_product(rows_operand(tiles, operands, d, rows, d), k, scores, ck_key_block, false);
    cap_scores(a, scores, rows * ck_key_block);
    small_product(rows_operand(tiles + tiles_count(longest, d), d_sum, d, rows, d), v, d_p, ck_key_block, false);
    mask_scores(a, r, tile, scores);
    tile_gradients(a, upstream, r, tile.columns, scores, d_p);
    right_operand by_row = {query_panels, rows, d};
    pack_right(by_row, 0, d_sum, d, false, rows);
    small_product((left_operand){in_columns, scores, ck_key_block, tile.columns, rows}, by_row, sum_v, d, true);
    for (long g = 0; g < a->group; g++) pack_right(by_row, g * r.queries, queries + g * d, a->ldq, false, r.queries);
    small_product((left_operand){in_columns, d_p, ck_key_block, tile.columns, rows}, by_row, sum_k, d, true);
    if (dq) {
      float *share = scratch(7, longest * d);
      small_product(
        rows_operand(tiles + 2 * tiles_count(longest, d), d_p, ck_key_block, rows, tile.keys), keys_by_row, share, d,
        false);
      put_heads(share, r, a->group, d, dq, lddq, key > 0);
    }
  }
  put_rows(sum_k, keys, d, dk, ldd, accumulate);
  put_rows(sum_v, keys, d, dv, ldd, accumulate);
}
