// Attention, forward and backward, against the definition in double precision.
#include "check.h"

typedef struct {
  long queries, keys, shared, group, head_dim, window;
} attention_case;

static bool sees(const attention_case *c, long query, long key) {
  long position = c->keys - c->queries + query;
  return key <= position && (c->window <= 0 || key > position - c->window);
}

static void check_case(const attention_case *c) {
  long d = c->head_dim, ldq = c->group * d + 8, ldk = d + 16, own = c->keys - c->shared;
  float scale = 1 / sqrtf((float)d);
  float *q = random_floats(c->queries * ldq, 1), *d_out = random_floats(c->queries * ldq, 4);
  float *k = random_floats(c->keys * ldk, 2), *v = random_floats(c->keys * ldk, 3);
  for (long i = 0; i < c->queries * ldq; i++) q[i] *= 3;
  // The kernel gets the shared prefix and the rest in blocks of their own.
  float *shared_k = floats(c->shared * ldk), *shared_v = floats(c->shared * ldk);
  float *own_k = floats(own * ldk), *own_v = floats(own * ldk);
  memcpy(shared_k, k, (size_t)(c->shared * ldk) * sizeof(float));
  memcpy(shared_v, v, (size_t)(c->shared * ldk) * sizeof(float));
  memcpy(own_k, k + c->shared * ldk, (size_t)(own * ldk) * sizeof(float));
  memcpy(own_v, v + c->shared * ldk, (size_t)(own * ldk) * sizeof(float));

  long out_count = c->queries * c->group * d;
  double *out = doubles(out_count), *lse = doubles(c->queries * c->group), *delta = doubles(c->queries * c->group);
  double *dq = doubles(out_count), *dk = doubles(c->keys * d), *dv = doubles(c->keys * d), *p = doubles(c->keys);
  for (long i = 0; i < c->queries; i++)
    for (long g = 0; g < c->group; g++) {
      double largest = -INFINITY, total = 0;
      for (long j = 0; j < c->keys; j++) {
        p[j] = 0;
        for (long e = 0; e < d; e++) p[j] += (double)q[i * ldq + g * d + e] * k[j * ldk + e];
        p[j] = sees(c, i, j) ? p[j] * scale : -INFINITY;
        largest = fmax(largest, p[j]);
      }
      for (long j = 0; j < c->keys; j++) total += p[j] = exp(p[j] - largest);
      for (long j = 0; j < c->keys; j++) p[j] /= total;
      long row = i * c->group + g;
      lse[row] = largest + log(total);
      for (long e = 0; e < d; e++) {
        for (long j = 0; j < c->keys; j++) out[row * d + e] += p[j] * v[j * ldk + e];
        delta[row] += out[row * d + e] * d_out[i * ldq + g * d + e];
      }
      for (long j = 0; j < c->keys; j++) {
        double dp = 0;
        for (long e = 0; e < d; e++) {
          dp += (double)d_out[i * ldq + g * d + e] * v[j * ldk + e];
          dv[j * d + e] += p[j] * d_out[i * ldq + g * d + e];
        }
        double ds = p[j] * (dp - delta[row]) * scale;
        for (long e = 0; e < d; e++) {
          dq[row * d + e] += ds * k[j * ldk + e];
          dk[j * d + e] += ds * q[i * ldq + g * d + e];
        }
      }
    }

  char name[160];
  snprintf(
    name, sizeof name, "attention, %ld queries, %ld keys, %ld shared, group %ld, head dim %ld, window %ld", c->queries,
    c->keys, c->shared, c->group, d, c->window);
  ck_attention a = {
    .q = q,
    .k = own_k,
    .v = own_v,
    .shared_k = shared_k,
    .shared_v = shared_v,
    .ldq = ldq,
    .ldk = ldk,
    .ldv = ldk,
    .query_count = c->queries,
    .key_count = c->keys,
    .shared_count = c->shared,
    .group = c->group,
    .head_dim = d,
    .window = c->window,
    .scale = scale};
  float *found = floats(out_count), *found_lse = floats(c->queries * c->group);
  float *found_delta = floats(c->queries * c->group), *found_dq = floats(out_count);
  float *found_dk = floats(c->keys * d), *found_dv = floats(c->keys * d), *packed_d_out = floats(out_count);
  float *joined_dq = floats(out_count);
  for (long i = 0; i < c->queries; i++)
    memcpy(packed_d_out + i * c->group * d, d_out + i * ldq, (size_t)(c->group * d) * sizeof(float));
  long ldo = c->group * d, blocks = (c->queries + ck_query_block - 1) / ck_query_block;
  for (long b = 0; b < blocks; b++) ck_attention_forward(&a, found, ldo, found_lse, c->group, b);
  expect_close(found, out, out_count, 1e-5, "%s", name);
  expect_close(found_lse, lse, c->queries * c->group, 1e-5, "%s: log-sum-exp", name);
  if (c->queries == 1 && c->shared == 0) {
    for (long parts = 1; parts <= 3 && parts <= c->keys; parts++) {
      long count = ck_attention_part_count(c->group, d);
      float *partial = floats(parts * count);
      for (long part = 0; part < parts; part++) ck_attention_part(&a, part, parts, partial + part * count);
      ck_attention_join(partial, parts, c->group, d, found, found_lse);
      expect_close(found, out, out_count, 1e-5, "%s, in %ld parts", name, parts);
      expect_close(found_lse, lse, c->group, 1e-5, "%s: log-sum-exp, in %ld parts", name, parts);
      free(partial);
    }
  }
  ck_attention_delta(found, packed_d_out, ldo, d, c->group, found_delta, 0, c->queries);
  expect_close(found_delta, delta, c->queries * c->group, 1e-5, "%s: delta", name);
  ck_attention_upstream upstream = {
    .d_out = packed_d_out, .lse = found_lse, .delta = found_delta, .ldo = ldo, .ld_lse = c->group};
  for (long b = 0; b < blocks; b++) ck_attention_backward_q(&a, &upstream, found_dq, ldo, b);
  expect_close(found_dq, dq, out_count, 1e-5, "%s: dq", name);
  for (int pass = 0; pass < 2; pass++) {
    for (long key = 0; key < c->keys; key += ck_key_block) {
      long keys = c->keys - key < ck_key_block ? c->keys - key : ck_key_block;
      ck_attention_backward_kv(
        &a, &upstream, pass == 0 ? joined_dq : NULL, ldo, found_dk + key * d, found_dv + key * d, d, key, keys,
        pass > 0);
    }
    if (c->window == 0)
      expect_equal(joined_dq, found_dq, out_count * (long)sizeof(float), "%s: dq with dk and dv", name);
    expect_close(found_dk, dk, c->keys * d, 1e-5, "%s: dk, pass %d", name, pass);
    expect_close(found_dv, dv, c->keys * d, 1e-5, "%s: dv, pass %d", name, pass);
    for (long i = 0; i < c->keys * d; i++) dk[i] *= 2, dv[i] *= 2;
  }
  void *all[] = {q,  d_out, k, v,     shared_k,  shared_v,    own_k,    own_v,    out,      lse,          delta,    dq,
                 dk, dv,    p, found, found_lse, found_delta, found_dq, found_dk, found_dv, packed_d_out, joined_dq};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

void test_attention(void) {
  static const attention_case cases[] = {
    {1, 1, 0, 1, 8, 0},       {1, 77, 0, 3, 64, 0},    {1, 200, 0, 2, 96, 50},   {5, 5, 0, 1, 16, 0},
    {33, 33, 0, 3, 64, 0},    {70, 150, 0, 2, 40, 0},  {100, 100, 0, 1, 64, 17}, {40, 90, 50, 3, 32, 0},
    {65, 129, 64, 1, 128, 0}, {20, 100, 7, 4, 24, 33}, {1, 40, 39, 2, 16, 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_case(cases + i);
}
