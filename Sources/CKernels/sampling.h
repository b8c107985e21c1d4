// Passes over the logits of a vocabulary, for sampling without sorting it.

float CK(ck_largest)(const float *x, long count) {
  v8 m = splat8(-INFINITY);
  long i = 0;
  // max8 returns its second operand if the first is NaN.
  for (; i + 8 <= count; i += 8) m = max8(load8(x + i), m);
  float largest = max_lane(m);
  for (; i < count; i++) largest = x[i] > largest ? x[i] : largest;
  return largest;
}

enum { weight_chunk = 1024 };

// The weights of one chunk, e^(x / divisor - shift), added up.
INLINE double chunk_weight(const float *x, long count, float divisor, float shift) {
  long i = 0;
  v8 sum = splat8(0);
  for (; i + 8 <= count; i += 8) sum += exp8(load8(x + i) / divisor - shift);
  double total = sum_lanes8(sum);
  for (; i < count; i++) total += expf(x[i] / divisor - shift);
  return total;
}

double CK(ck_exponential_sum)(const float *x, long count, float divisor, float shift) {
  double total = 0;
  for (long i = 0; i < count; i += weight_chunk)
    total += chunk_weight(x + i, count - i < weight_chunk ? count - i : weight_chunk, divisor, shift);
  return total;
}

long CK(ck_pick_exponential)(const float *x, long count, float divisor, float shift, double position) {
  long last = 0;
  for (long first = 0; first < count; first += weight_chunk) {
    long length = count - first < weight_chunk ? count - first : weight_chunk;
    double weight = chunk_weight(x + first, length, divisor, shift);
    if (position >= weight && first + length < count) {
      position -= weight;
      continue;
    }
    for (long i = first; i < first + length; i++) {
      float own = expf(x[i] / divisor - shift);
      if (!(own > 0)) continue;
      last = i;
      position -= own;
      if (position < 0) return i;
    }
    // The single weights add up to a bit less than the chunk's: the last of them, or the first of the next.
    position = 0;
  }
  return last;
}

long CK(ck_at_least)(const float *x, long count, float threshold, int32_t *indices) {
  long found = 0, i = 0;
  for (; i + 32 <= count; i += 32) {
    i32x8 any = (load8(x + i) >= threshold) | (load8(x + i + 8) >= threshold) | (load8(x + i + 16) >= threshold)
      | (load8(x + i + 24) >= threshold);
    if (!(any[0] | any[1] | any[2] | any[3] | any[4] | any[5] | any[6] | any[7])) continue;
    for (long j = i; j < i + 32; j++)
      if (x[j] >= threshold) indices[found++] = (int32_t)j;
  }
  for (; i < count; i++)
    if (x[i] >= threshold) indices[found++] = (int32_t)i;
  return found;
}
