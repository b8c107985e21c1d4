// Cross-entropy over rows of logits; the gradient overwrites the logits.

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
