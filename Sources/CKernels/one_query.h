// Attention of a single query, as in generation, where the tiles of attention.h would be almost empty. Bound by memory:
// every key and value is read once, for all heads of a group.

// The first key that the query at `position` sees.
INLINE long first_seen_from(const ck_attention *a, long position) {
  return a->window > 0 && position + 1 > a->window ? position + 1 - a->window : 0;
}

enum { keys_ahead = 32 };

INLINE void prefetch_row(const float *x, long d) {
  for (long j = 0; j < d; j += 16) __builtin_prefetch(x + j);
}

// The products of a query with eight keys, ldk apart, of which the first `present` are there.
INLINE v8 scores_of_eight(const float *q, const float *k, long ldk, long present, long d) {
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

// out, `columns` of it, 64 at most and a multiple of 8, += the sum of `keys` rows of v, each times its share.
INLINE void add_shares_of(const float *shares, const float *v, long ldv, long keys, const long columns, float *out) {
  v8 sums[8];
#pragma clang loop unroll(full)
  for (int c = 0; c < columns / 8; c++) sums[c] = load8(out + 8 * c);
  for (long key = 0; key < keys; key++)
#pragma clang loop unroll(full)
    for (int c = 0; c < columns / 8; c++) sums[c] += shares[key] * load8(v + key * ldv + 8 * c);
#pragma clang loop unroll(full)
  for (int c = 0; c < columns / 8; c++) store8(out + 8 * c, sums[c]);
}

// What the query of a group of heads finds among keys [first, last): for each head the largest score, the sum of e^(score -
// largest), and the values' sum with these shares.
static void attention_of_query(
  const ck_attention *a, long first, long last, float *sums, float *largest, float *totals) {
  long d = a->head_size, keys = last - first, padded = (keys + 7) / 8 * 8;
  float *scores = scratch(5, a->group * padded);
  const float *k = a->k + first * a->ldk, *v = a->v + first * a->ldv;
  for (long key = 0; key < keys_ahead && key < keys; key++) prefetch_row(k + key * a->ldk, d);
  for (long key = 0; key < keys; key += 8) {
    for (long r = 0; r < 8; r++) prefetch_row(k + (key + r + keys_ahead) * a->ldk, d);
    for (long g = 0; g < a->group; g++)
      store8(scores + g * padded + key, scores_of_eight(a->q + g * d, k + key * a->ldk, a->ldk, keys - key, d) * a->scale);
  }
  for (long key = 0; key < keys_ahead && key < keys; key++) prefetch_row(v + key * a->ldv, d);
  for (long g = 0; g < a->group; g++) {
    float *row = scores + g * padded;
    for (long key = keys; key < padded; key++) row[key] = -INFINITY;
    v8 m = load8(row), sum = splat8(0);
    for (long key = 8; key < padded; key += 8) m = max8(m, load8(row + key));
    largest[g] = largest8(m);
    for (long key = 0; key < padded; key += 8) {
      v8 e = exp8(load8(row + key) - largest[g]);
      store8(row + key, e);
      sum += e;
    }
    totals[g] = sum8(sum);
  }
  memset(sums, 0, a->group * d * sizeof(float));
  for (long key = 0; key < keys; key += 8) {
    long present = keys - key < 8 ? keys - key : 8;
    for (long r = 0; r < 8; r++) prefetch_row(v + (key + r + keys_ahead) * a->ldv, d);
    for (long g = 0; g < a->group; g++) {
      const float *shares = scores + g * padded + key, *from = v + key * a->ldv;
      float *to = sums + g * d;
      long j = 0;
      for (; j + 64 <= d; j += 64) add_shares_of(shares, from + j, a->ldv, present, 64, to + j);
      for (; j < d; j += 8) add_shares_of(shares, from + j, a->ldv, present, 8, to + j);
    }
  }
}

// A part's findings: the sums, the largest scores and the totals, of all heads each.
long CK(ck_attention_part_count)(long group, long head_size) { return group * (head_size + 2); }

void CK(ck_attention_part)(const ck_attention *a, long part, long parts, float *found) {
  long first = first_seen_from(a, a->key_count - 1), keys = a->key_count - first, sums = a->group * a->head_size;
  attention_of_query(
    a, first + keys * part / parts, first + keys * (part + 1) / parts, found, found + sums, found + sums + a->group);
}

void CK(ck_attention_join)(
  const float *found, long parts, long group, long head_size, float *out, float *lse) {
  long sums = group * head_size, count = CK(ck_attention_part_count)(group, head_size);
  for (long g = 0; g < group; g++) {
    float largest = -INFINITY, total = 0, weights[ck_most_parts];
    for (long p = 0; p < parts; p++) largest = fmaxf(largest, found[p * count + sums + g]);
    for (long p = 0; p < parts; p++) {
      weights[p] = expf(found[p * count + sums + g] - largest);
      total += weights[p] * found[p * count + sums + group + g];
    }
    for (long j = 0; j < head_size; j += 8) {
      v8 sum = splat8(0);
      for (long p = 0; p < parts; p++) sum += load8(found + p * count + g * head_size + j) * weights[p];
      store8(out + g * head_size + j, sum * (1 / total));
    }
    if (lse) lse[g] = largest + logf(total);
  }
}
