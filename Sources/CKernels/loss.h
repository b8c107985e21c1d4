// Cross-entropy over rows of logits, and their divergence from a teacher's; the gradient overwrites the logits.

void CK(ck_softcap)(float *x, float cap, long begin, long end) {
  for (long i = begin; i < end; i += 8) store_part(x + i, cap * tanh8(load_part(x + i, end - i) / cap), end - i);
}

// Sums chunks of 1,024 in eight float32 lanes, and the chunks in double precision.
INLINE double CK(ck_sum)(const float *x, long count) {
  double total = 0;
  for (long chunk = 0; chunk < count; chunk += 1024) {
    long last = chunk + 1024 < count ? chunk + 1024 : count;
    v8 sum = splat8(0);
    for (long i = chunk; i < last; i += 8) sum += load_part(x + i, last - i);
    total += sum_lanes8(sum);
  }
  return total;
}

void CK(ck_logit_statistics)(const float *logits, long columns, float cap, float *found, long begin, long end) {
  for (long row = begin; row < end; row++) {
    const float *x = logits + row * columns;
    float largest = x[0];
    for (long j = 1; j < columns; j++) largest = x[j] > largest ? x[j] : largest;
    if (cap > 0) largest = cap * tanhf(largest / cap);
    double mean = 0, total = 0, squares = 0;
    for (long chunk = 0; chunk < columns; chunk += 1024) {
      long last = chunk + 1024 < columns ? chunk + 1024 : columns;
      v8 sum = splat8(0), exponentials = splat8(0), squared = splat8(0);
      long j = chunk;
      for (; j + 8 <= last; j += 8) {
        v8 value = load8(x + j);
        if (cap > 0) value = cap * tanh8(value / cap);
        v8 e = exp8(value - largest);
        sum += value;
        exponentials += e;
        squared += e * e;
      }
      mean += sum_lanes8(sum);
      total += sum_lanes8(exponentials);
      squares += sum_lanes8(squared);
      for (; j < last; j++) {
        float value = cap > 0 ? cap * tanhf(x[j] / cap) : x[j], e = expf(value - largest);
        mean += value;
        total += e;
        squares += (double)e * e;
      }
    }
    found[2 * row] = (float)(mean / columns);
    found[2 * row + 1] = (float)(log(squares) - 2 * log(total));
  }
}

void CK(ck_cross_entropy)(
  float *logits, const int32_t *targets, long columns, float scale, float cap, float smoothing, bool gradient,
  float *losses, uint8_t *correct, float *entropy, long begin, long end) {
  for (long row = begin; row < end; row++) {
    float *x = logits + row * columns;
    long target = targets[row];
    if (cap > 0) CK(ck_softcap)(x, cap, 0, columns);
    float largest = x[0];
    v8 m = splat8(x[0]);
    long j = 0;
    for (; j + 8 <= columns; j += 8) m = max8(m, load8(x + j));
    largest = max_lane(m);
    for (; j < columns; j++) largest = x[j] > largest ? x[j] : largest;

    // Sum of exponentials, with the same chunks.
    double total = 0, weighted = 0;
    for (long chunk = 0; chunk < columns; chunk += 1024) {
      long last = chunk + 1024 < columns ? chunk + 1024 : columns;
      v8 sum = splat8(0), products = splat8(0);
      for (j = chunk; j + 8 <= last; j += 8) {
        v8 difference = load8(x + j) - largest, e = exp8(difference);
        sum += e;
        products += e * max8(difference, splat8(-100));  // e is 0 there; 0 * infinity would be NaN
      }
      total += sum_lanes8(sum);
      weighted += sum_lanes8(products);
      for (; j < last; j++) {
        float e = expf(x[j] - largest);
        total += e;
        if (e != 0) weighted += e * (x[j] - largest);
      }
    }
    float at_target = x[target], log_total = (float)log(total);
    losses[row] = log_total - (at_target - largest);
    if (smoothing > 0) {
      double mean = CK(ck_sum)(x, columns) / columns;
      losses[row] = log_total - ((1 - smoothing) * at_target + smoothing * (float)mean - largest);
    }
    if (correct) correct[row] = at_target == largest;
    if (entropy) entropy[row] = (float)(log(total) - weighted / total);
    if (!gradient) continue;

    float shift = largest + log_total;
    float spread = smoothing / columns;
    v8 shift8 = splat8(shift);
    for (j = 0; j < columns; j += 8) {
      v8 value = load_part(x + j, columns - j), p = (exp8(value - shift8) - spread) * scale;
      if (cap > 0) p *= 1.0f - (value / cap) * (value / cap);
      store_part(x + j, p, columns - j);
    }
    float at_one_hot = (1.0f - smoothing) * scale;
    x[target] -= cap > 0 ? at_one_hot * (1.0f - (at_target / cap) * (at_target / cap)) : at_one_hot;
  }
}

// Eight logits, the ones beyond `count` so low that their probability is 0.
INLINE v8 load_logits(const float *x, long count) {
  if (count >= 8) return load8(x);
  v8 part = splat8(-1e30f);
  for (long i = 0; i < count; i++) part[i] = x[i];
  return part;
}

// Logits as logarithms of probabilities.
typedef struct {
  float largest, log_total, inverse;
} log_softmax;

INLINE log_softmax log_softmax_of(const float *x, long columns, float inverse) {
  v8 m = splat8(-1e30f);
  for (long j = 0; j < columns; j += 8) m = max8(m, load_logits(x + j, columns - j));
  float largest = max_lane(m);
  double total = 0;
  for (long chunk = 0; chunk < columns; chunk += 1024) {
    long last = chunk + 1024 < columns ? chunk + 1024 : columns;
    v8 sum = splat8(0);
    for (long j = chunk; j < last; j += 8) sum += exp8((load_logits(x + j, last - j) - largest) * inverse);
    total += sum_lanes8(sum);
  }
  return (log_softmax){largest, (float)log(total), inverse};
}

// The bound keeps products with probabilities of 0 finite.
INLINE v8 log_probabilities(v8 x, log_softmax of) {
  return max8((x - of.largest) * of.inverse - of.log_total, splat8(-1e4f));
}

// One element of a divergence, and the derivative by the student's probability, up to a constant.
INLINE v8 divergence_term(v8 s, v8 t, v8 p, v8 q, float beta, v8 *slope) {
  if (beta == 0) return q * (t - s);
  if (beta == 1) {
    *slope = s - t;
    return p * (s - t);
  }
  v8 mixture = log8((1.0f - beta) * p + beta * q);
  *slope = (1.0f - beta) * (s - mixture);
  return beta * q * (t - mixture) + p * *slope;
}

void CK(ck_divergence)(
  float *logits, const float *teacher, const int32_t *targets, long columns, float beta, float temperature, float scale,
  float cap, bool gradient, float *found, long begin, long end) {
  for (long row = begin; row < end; row++) {
    float *x = logits + row * columns;
    const float *y = teacher + row * columns;
    if (cap > 0) CK(ck_softcap)(x, cap, 0, columns);
    log_softmax student = log_softmax_of(x, columns, 1.0f / temperature);
    log_softmax other = log_softmax_of(y, columns, 1.0f / temperature);
    double loss = 0, mean_slope = 0, entropy = 0;
    for (long chunk = 0; chunk < columns; chunk += 1024) {
      long last = chunk + 1024 < columns ? chunk + 1024 : columns;
      v8 losses = splat8(0), slopes = splat8(0), entropies = splat8(0);
      for (long j = chunk; j < last; j += 8) {
        v8 s = log_probabilities(load_logits(x + j, last - j), student), p = exp8(s);
        v8 t = log_probabilities(load_logits(y + j, last - j), other), q = exp8(t), slope = splat8(0);
        losses += divergence_term(s, t, p, q, beta, &slope);
        slopes += p * slope;
        entropies -= p * s;
      }
      loss += sum_lanes8(losses);
      mean_slope += sum_lanes8(slopes);
      entropy += sum_lanes8(entropies);
    }
    found[4 * row] = found[4 * row + 1] = (float)loss;
    found[4 * row + 2] = x[targets[row]] == student.largest;
    found[4 * row + 3] = (float)entropy;
    if (!gradient) continue;
    float factor = scale / temperature, mean = (float)mean_slope;
    for (long j = 0; j < columns; j += 8) {
      v8 value = load_logits(x + j, columns - j), s = log_probabilities(value, student), p = exp8(s);
      v8 t = log_probabilities(load_logits(y + j, columns - j), other), q = exp8(t), slope = splat8(0);
      divergence_term(s, t, p, q, beta, &slope);
      v8 g = (beta == 0 ? p - q : p * (slope - mean)) * factor;
      if (cap > 0) g *= 1.0f - (value / cap) * (value / cap);
      store_part(x + j, g, columns - j);
    }
  }
}
