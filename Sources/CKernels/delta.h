// The gated delta rule (Yang et al. 2024, arXiv:2412.06464): for every head a state S [key_dim, value_dim] that each
// token first decays and then corrects. S is small enough for the cache, so tokens are taken one after the other.

// One token: s = decay s; e = v - s' k; s += k (beta e)'; out = s' q. d_v is a multiple of 8. `errors` receives e.
static void delta_step(
  float *state, const float *q, const float *k, const float *v, float decay, float beta, long d_k, long d_v, float *out,
  float *errors) {
  for (long j = 0; j < d_v; j += 8) {
    v8 sum = splat8(0), total = splat8(0);
    for (long i = 0; i < d_k; i++) {
      v8 row = load8(state + i * d_v + j) * decay;
      store8(state + i * d_v + j, row);
      sum += row * k[i];
    }
    v8 error = load8(v + j) - sum, delta = error * beta;
    for (long i = 0; i < d_k; i++) {
      v8 row = load8(state + i * d_v + j) + delta * k[i];
      store8(state + i * d_v + j, row);
      total += row * q[i];
    }
    if (errors) store8(errors + j, error);
    if (out) store8(out + j, total);
  }
}

// Where a token's numbers for a value head are.
typedef struct {
  const float *q, *k, *v;
  float decay, beta;
} delta_token;

INLINE delta_token token_of(const ck_delta *p, long row, long head) {
  const float *x = p->qkv + row * p->ld;
  long key_head = head / (p->value_heads / p->key_heads), keys = p->key_heads * p->key_dim;
  delta_token t = {
    x + key_head * p->key_dim, x + keys + key_head * p->key_dim, x + 2 * keys + head * p->value_dim,
    expf(p->gates[row * 2 * p->value_heads + head]), p->gates[row * 2 * p->value_heads + p->value_heads + head]};
  return t;
}

void CK(ck_delta_rule)(const ck_delta *p, long head, long begin, long end, float *state, float *out) {
  for (long row = begin; row < end; row++) {
    delta_token t = token_of(p, row, head);
    float *target = out ? out + row * p->value_heads * p->value_dim + head * p->value_dim : NULL;
    delta_step(state, t.q, t.k, t.v, t.decay, t.beta, p->key_dim, p->value_dim, target, NULL);
  }
}

enum { delta_chunk = 32 };

// The gradients of one token; `before` is the state before it, `errors` what the forward pass found, and d_state the
// gradient of the state after it, which becomes that of the state before it. `rest` has room for 2 d_v floats.
static void delta_step_backward(
  const float *before, const delta_token *t, const float *errors, const float *d_out, float *d_state, long d_k,
  long d_v, float *dq, float *dk, float *dv, float *d_decay, float *d_beta, float *rest) {
  float *d_delta = rest, *d_sum = rest + d_v;
  v8 dot = splat8(0);
  for (long j = 0; j < d_v; j += 8) {
    dot += load8(errors + j) * load8(d_out + j);
    store8(d_delta + j, splat8(0));
  }
  float delta_out = t->beta * sum_lanes8(dot);
  for (long i = 0; i < d_k; i++) {
    float *d_row = d_state + i * d_v;
    const float *row = before + i * d_v;
    v8 along = splat8(0);
    for (long j = 0; j < d_v; j += 8) {
      v8 d_o = load8(d_out + j), d_s = load8(d_row + j) + d_o * t->q[i];
      store8(d_row + j, d_s);
      along += load8(row + j) * d_o;
      store8(d_delta + j, load8(d_delta + j) + d_s * t->k[i]);
    }
    dq[i] += t->decay * sum_lanes8(along) + t->k[i] * delta_out;
  }
  v8 beta_dot = splat8(0);
  for (long j = 0; j < d_v; j += 8) {
    v8 d_e = load8(d_delta + j);
    beta_dot += d_e * load8(errors + j);
    store8(dv + j, load8(dv + j) + d_e * t->beta);
    store8(d_sum + j, d_e * -t->beta);
  }
  *d_beta = sum_lanes8(beta_dot);
  v8 decay_dot = splat8(0);
  for (long i = 0; i < d_k; i++) {
    float *d_row = d_state + i * d_v;
    const float *row = before + i * d_v;
    v8 toward = splat8(0);
    for (long j = 0; j < d_v; j += 8) {
      v8 s = load8(row + j) * t->decay, d_u = load8(d_sum + j), d_s = load8(d_row + j);
      toward += d_s * (load8(errors + j) * t->beta) + s * d_u;
      d_s += d_u * t->k[i];
      decay_dot += d_s * s;
      store8(d_row + j, d_s * t->decay);
    }
    dk[i] += sum_lanes8(toward);
  }
  *d_decay = sum_lanes8(decay_dot);
}

void CK(ck_delta_rule_backward)(
  const ck_delta *p, long head, long begin, long end, const float *initial, const float *d_out, float *d_state,
  float *d_qkv, float *d_gates) {
  long d_k = p->key_dim, d_v = p->value_dim, size = d_k * d_v;
  long chunks = (end - begin + delta_chunk - 1) / delta_chunk;
  float *starts = scratch(3, (chunks + 1) * size), *states = scratch(4, (delta_chunk + 1) * size);
  float *errors = scratch(5, (delta_chunk + 2) * d_v);
  memcpy(starts, initial, size * sizeof(float));
  for (long c = 0; c + 1 < chunks; c++) {
    memcpy(starts + (c + 1) * size, starts + c * size, size * sizeof(float));
    CK(ck_delta_rule)
    (p, head, begin + c * delta_chunk, begin + (c + 1) * delta_chunk, starts + (c + 1) * size, NULL);
  }
  long keys = p->key_heads * d_k, key_head = head / (p->value_heads / p->key_heads);
  for (long c = chunks - 1; c >= 0; c--) {
    long first = begin + c * delta_chunk, count = end - first < delta_chunk ? end - first : delta_chunk;
    memcpy(states, starts + c * size, size * sizeof(float));
    for (long i = 0; i < count; i++) {
      delta_token t = token_of(p, first + i, head);
      memcpy(states + (i + 1) * size, states + i * size, size * sizeof(float));
      delta_step(states + (i + 1) * size, t.q, t.k, t.v, t.decay, t.beta, d_k, d_v, NULL, errors + i * d_v);
    }
    for (long i = count - 1; i >= 0; i--) {
      long row = first + i;
      delta_token t = token_of(p, row, head);
      float *dx = d_qkv + row * p->ld, *gates = d_gates + row * 2 * p->value_heads + head;
      delta_step_backward(
        states + i * size, &t, errors + i * d_v, d_out + row * p->value_heads * d_v + head * d_v, d_state, d_k, d_v,
        dx + key_head * d_k, dx + keys + key_head * d_k, dx + 2 * keys + head * d_v, gates, gates + p->value_heads,
        errors + delta_chunk * d_v);
    }
  }
}

// softplus(x) = log(1 + e^x), without overflow.
static float softplus(float x) { return x > 20 ? x : log1pf(expf(x)); }

void CK(ck_delta_gates)(
  const float *ba, long ld, long heads, const float *a_log, const float *dt_bias, float *gates, long begin, long end) {
  for (long row = begin; row < end; row++)
    for (long h = 0; h < heads; h++) {
      float b = ba[row * ld + h], a = ba[row * ld + heads + h];
      gates[row * 2 * heads + h] = -expf(a_log[h]) * softplus(a + dt_bias[h]);
      gates[row * 2 * heads + heads + h] = 1 / (1 + expf(-b));
    }
}

void CK(ck_delta_gates_backward)(
  const float *ba, long ld, long heads, const float *a_log, const float *dt_bias, const float *d_gates, float *d_ba,
  float *d_a_log, float *d_dt_bias, long rows, long begin, long end) {
  for (long h = begin; h < end; h++) {
    double log_sum = 0, bias_sum = 0;
    for (long row = 0; row < rows; row++) {
      float b = ba[row * ld + h], x = ba[row * ld + heads + h] + dt_bias[h], rate = -expf(a_log[h]);
      float d_decay = d_gates[row * 2 * heads + h], beta = 1 / (1 + expf(-b));
      float d_a = d_decay * rate / (1 + expf(-x));
      d_ba[row * ld + h] = d_gates[row * 2 * heads + heads + h] * beta * (1 - beta);
      d_ba[row * ld + heads + h] = d_a;
      log_sum += (double)d_decay * rate * softplus(x);
      bias_sum += d_a;
    }
    if (d_a_log) d_a_log[h] += (float)log_sum;
    if (d_dt_bias) d_dt_bias[h] += (float)bias_sum;
  }
}

void CK(ck_silu)(const float *x, float *out, long begin, long end) {
  for (long i = begin; i < end; i += 8) store_part(out + i, activation8(load_part(x + i, end - i), 0), end - i);
}

void CK(ck_silu_backward)(const float *x, const float *d_out, float *dx, long begin, long end) {
  for (long i = begin; i < end; i += 8)
    store_part(dx + i, load_part(d_out + i, end - i) * activation_slope8(load_part(x + i, end - i), 0), end - i);
}
