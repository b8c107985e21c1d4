// Attention for a single query (decode), where the tiles of attention.h would be almost empty. Bound by memory: reads
// every key and value once for all heads of a group.

// The first key visible to the query at `position`.
INLINE long first_visible_key(const ck_attention *a, long position) {
  return a->window > 0 && position + 1 > a->window ? position + 1 - a->window : 0;
}

enum { keys_ahead = 32 };

INLINE void prefetch_row(const float *x, long d) {
  for (long j = 0; j < d; j += 16) __builtin_prefetch(x + j);
}

// Dot products of a query with eight keys, ldk apart, of which the first `present` exist.
INLINE v8 score8(const float *q, const float *k, long ldk, long present, long d) {
  v8 sums[8] = {};
  if (present >= 8) {
    for (long j = 0; j < d; j += 8)
#pragma clang loop unroll(full)
      for (int r = 0; r < 8; r++) sums[r] += load8(q + j) * load8(k + r * ldk + j);
  } else {
    for (long j = 0; j < d; j += 8)
      for (long r = 0; r < present; r++) sums[r] += load8(q + j) * load8(k + r * ldk + j);
  }
  transpose8(sums);
  return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

// out [columns] += sum over `keys` rows of v, times their weights. `columns` is a multiple of 8, at most 64.
INLINE void add_weighted_rows(
  const float *weights, const float *v, long ldv, long keys, const long columns, float *out) {
  v8 sums[8];
#pragma clang loop unroll(full)
  for (int c = 0; c < columns / 8; c++) sums[c] = load8(out + 8 * c);
  for (long key = 0; key < keys; key++)
#pragma clang loop unroll(full)
    for (int c = 0; c < columns / 8; c++) sums[c] += weights[key] * load8(v + key * ldv + 8 * c);
#pragma clang loop unroll(full)
  for (int c = 0; c < columns / 8; c++) store8(out + 8 * c, sums[c]);
}

// Partial attention of one query of each head in a group over keys [first, last): the largest score, the sum of
// e^(score - largest), and the values weighted by these exponentials.
static void attend_query(const ck_attention *a, long first, long last, float *sums, float *largest, float *totals) {
  long d = a->head_dim, keys = last - first, padded = (keys + 7) / 8 * 8;
  float *scores = scratch(5, a->group * padded);
  const float *k = a->k + first * a->ldk, *v = a->v + first * a->ldv;
  for (long key = 0; key < keys_ahead && key < keys; key++) prefetch_row(k + key * a->ldk, d);
  for (long key = 0; key < keys; key += 8) {
    for (long r = 0; r < 8; r++) prefetch_row(k + (key + r + keys_ahead) * a->ldk, d);
    for (long g = 0; g < a->group; g++)
      store8(scores + g * padded + key, score8(a->q + g * d, k + key * a->ldk, a->ldk, keys - key, d) * a->scale);
  }
  for (long key = 0; key < keys_ahead && key < keys; key++) prefetch_row(v + key * a->ldv, d);
  for (long g = 0; g < a->group; g++) {
    float *row = scores + g * padded;
    if (a->softcap > 0)
      for (long key = 0; key < padded; key += 8) store8(row + key, a->softcap * tanh8(load8(row + key) / a->softcap));
    for (long key = keys; key < padded; key++) row[key] = -INFINITY;
    v8 m = load8(row), sum = splat8(0);
    for (long key = 8; key < padded; key += 8) m = max8(m, load8(row + key));
    largest[g] = max_lane(m);
    for (long key = 0; key < padded; key += 8) {
      v8 e = exp8(load8(row + key) - largest[g]);
      store8(row + key, e);
      sum += e;
    }
    totals[g] = sum_lanes8(sum);
  }
  memset(sums, 0, a->group * d * sizeof(float));
  for (long key = 0; key < keys; key += 8) {
    long present = keys - key < 8 ? keys - key : 8;
    for (long r = 0; r < 8; r++) prefetch_row(v + (key + r + keys_ahead) * a->ldv, d);
    for (long g = 0; g < a->group; g++) {
      const float *weights = scores + g * padded + key, *from = v + key * a->ldv;
      float *to = sums + g * d;
      long j = 0;
      for (; j + 64 <= d; j += 64) add_weighted_rows(weights, from + j, a->ldv, present, 64, to + j);
      for (; j < d; j += 8) add_weighted_rows(weights, from + j, a->ldv, present, 8, to + j);
    }
  }
}

// A partial result: the weighted sums, then the largest scores, then the totals of all heads.
long CK(ck_attention_part_count)(long group, long head_dim) { return group * (head_dim + 2); }

void CK(ck_attention_part)(const ck_attention *a, long part, long parts, float *partial) {
  long first = first_visible_key(a, a->key_count - 1), keys = a->key_count - first, sums = a->group * a->head_dim;
  attend_query(
    a, first + keys * part / parts, first + keys * (part + 1) / parts, partial, partial + sums,
    partial + sums + a->group);
}

void CK(ck_attention_join)(const float *partial, long parts, long group, long head_dim, float *out, float *lse) {
  long sums = group * head_dim, count = CK(ck_attention_part_count)(group, head_dim);
  for (long g = 0; g < group; g++) {
    float largest = -INFINITY, total = 0, weights[ck_max_parts];
    for (long p = 0; p < parts; p++) largest = fmaxf(largest, partial[p * count + sums + g]);
    for (long p = 0; p < parts; p++) {
      weights[p] = expf(partial[p * count + sums + g] - largest);
      total += weights[p] * partial[p * count + sums + group + g];
    }
    for (long j = 0; j < head_dim; j += 8) {
      v8 sum = splat8(0);
      for (long p = 0; p < parts; p++) sum += load8(partial + p * count + g * head_dim + j) * weights[p];
      store8(out + g * head_dim + j, sum * (1 / total));
    }
    if (lse) lse[g] = largest + logf(total);
  }
}
