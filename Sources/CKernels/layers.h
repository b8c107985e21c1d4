// Memory-bound loops over rows or elements: norms, rotary embeddings, gated units, sums, dropout.

// Loads up to eight floats, zero-filled; stores up to eight.
INLINE v8 load_part(const float *p, long count) {
  if (count >= 8) return load8(p);
  v8 x = splat8(0);
  memcpy(&x, p, count * sizeof(float));
  return x;
}
INLINE void store_part(float *p, v8 x, long count) {
  if (count >= 8) store8(p, x);
  else memcpy(p, &x, count * sizeof(float));
}

INLINE void norm_row(const float *in, const float *weight, float offset, float inverse, float *out, long columns) {
  for (long j = 0; j < columns; j += 8) {
    v8 value = load_part(in + j, columns - j) * inverse;
    if (weight) value *= load_part(weight + j, columns - j) + offset;
    store_part(out + j, value, columns - j);
  }
}

void CK(ck_rms_norm)(
  const float *x, const float *residual, float *sum, const float *weight, float offset, float epsilon, float *out,
  float *inverse_rms, long columns, long begin, long end) {
  for (long row = begin; row < end; row++) {
    const float *in = (residual ? sum : x) + row * columns;
    v8 squares = splat8(0);
    for (long j = 0; j < columns; j += 8) {
      v8 value = load_part(x + row * columns + j, columns - j);
      if (residual) {
        value += load_part(residual + row * columns + j, columns - j);
        store_part(sum + row * columns + j, value, columns - j);
      }
      squares += value * value;
    }
    float inverse = 1 / sqrtf(sum_lanes8(squares) / columns + epsilon);
    if (inverse_rms) inverse_rms[row] = inverse;
    norm_row(in, weight, offset, inverse, out + row * columns, columns);
  }
}

void CK(ck_rms_norm_apply)(
  const float *x, const float *weight, float offset, const float *inverse_rms, float *out, long columns, long begin,
  long end) {
  for (long row = begin; row < end; row++)
    norm_row(x + row * columns, weight, offset, inverse_rms[row], out + row * columns, columns);
}

void CK(ck_rms_norm_backward)(
  const float *x, const float *weight, float offset, const float *inverse_rms, const float *d_out, float *dx,
  bool accumulate, long columns, long begin, long end) {
  for (long row = begin; row < end; row++) {
    const float *in = x + row * columns, *dy = d_out + row * columns;
    float *out = dx + row * columns, inverse = inverse_rms[row];
    v8 dots = splat8(0);
    for (long j = 0; j < columns; j += 8) {
      v8 g = load_part(dy + j, columns - j);
      if (weight) g *= load_part(weight + j, columns - j) + offset;
      dots += g * load_part(in + j, columns - j);
    }
    float factor = sum_lanes8(dots) * inverse * inverse / columns;
    for (long j = 0; j < columns; j += 8) {
      v8 g = load_part(dy + j, columns - j);
      if (weight) g *= load_part(weight + j, columns - j) + offset;
      v8 value = (g - load_part(in + j, columns - j) * factor) * inverse;
      if (accumulate) value += load_part(out + j, columns - j);
      store_part(out + j, value, columns - j);
    }
  }
}

void CK(ck_rms_norm_weight_gradient)(
  const float *x, const float *inverse_rms, const float *d_out, float *d_weight, long rows, long columns, long begin,
  long end) {
  for (long j = begin; j < end; j += 8) {
    v8 sum = splat8(0);
    for (long row = 0; row < rows; row++)
      sum +=
        load_part(d_out + row * columns + j, end - j) * load_part(x + row * columns + j, end - j) * inverse_rms[row];
    store_part(d_weight + j, load_part(d_weight + j, end - j) + sum, end - j);
  }
}

void CK(ck_head_norm)(
  float *x, long ldx, long heads, long head_dim, const float *weight, float offset, float epsilon, float *inverse_rms,
  long begin, long end) {
  for (long row = begin; row < end; row++)
    for (long h = 0; h < heads; h++) {
      float *head = x + row * ldx + h * head_dim;
      CK(ck_rms_norm)
      (head, NULL, NULL, weight, offset, epsilon, head, inverse_rms ? inverse_rms + row * heads + h : NULL, head_dim, 0,
       1);
    }
}

void CK(ck_head_norm_backward)(
  const float *x, long ldx, long heads, long head_dim, const float *weight, float offset, const float *inverse_rms,
  float *dx, long lddx, long begin, long end) {
  for (long row = begin; row < end; row++)
    for (long h = 0; h < heads; h++) {
      float *head = dx + row * lddx + h * head_dim;
      CK(ck_rms_norm_backward)
      (x + row * ldx + h * head_dim, weight, offset, inverse_rms + row * heads + h, head, head, false, head_dim, 0, 1);
    }
}

void CK(ck_head_norm_weight_gradient)(
  const float *x, long ldx, long rows, long heads, long head_dim, const float *inverse_rms, const float *dx, long lddx,
  float *d_weight) {
  for (long row = 0; row < rows; row++)
    for (long h = 0; h < heads; h++) CK(ck_rms_norm_weight_gradient)
  (x + row * ldx + h * head_dim, inverse_rms + row * heads + h, dx + row * lddx + h * head_dim, d_weight, 1, head_dim,
   0, head_dim);
}

void CK(ck_rotary)(
  float *x, long ldx, long heads, long head_dim, long rotated, const float *cosines, const float *sines, bool inverse,
  long begin, long end) {
  long half_size = rotated / 2;
  for (long row = begin; row < end; row++)
    for (long h = 0; h < heads; h++) {
      float *first = x + row * ldx + h * head_dim, *second = first + half_size;
      for (long j = 0; j < half_size; j += 8) {
        long left = half_size - j;
        v8 c = load_part(cosines + row * half_size + j, left), s = load_part(sines + row * half_size + j, left);
        if (inverse) s = -s;
        v8 a = load_part(first + j, left), b = load_part(second + j, left);
        store_part(first + j, a * c - b * s, left);
        store_part(second + j, b * c + a * s, left);
      }
    }
}

// GELU, tanh approximation (Hendrycks and Gimpel 2016), and its derivative.
INLINE v8 gelu_inner(v8 x) { return 0.7978845608f * (x + 0.044715f * x * x * x); }
INLINE v8 activation8(v8 x, int activation) {
  if (activation == 0) return x * sigmoid8(x);
  if (activation == 2) return sigmoid8(x);
  return 0.5f * x * (1.0f + tanh8(gelu_inner(x)));
}
INLINE v8 activation_slope8(v8 x, int activation) {
  if (activation == 0) {
    v8 s = sigmoid8(x);
    return s * (1.0f + x * (1.0f - s));
  }
  if (activation == 2) {
    v8 s = sigmoid8(x);
    return s * (1.0f - s);
  }
  v8 t = tanh8(gelu_inner(x));
  return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * (0.7978845608f * (1.0f + 3 * 0.044715f * x * x));
}

// Eight pairs of neighbors, of which `left` exist, as two vectors; and back.
INLINE void load_pairs(const float *p, long left, v8 *first, v8 *second) {
  v8 a = load_part(p, 2 * left), b = left > 4 ? load_part(p + 8, 2 * left - 8) : splat8(0);
  *first = __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
  *second = __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
}
INLINE void store_pairs(float *p, long left, v8 first, v8 second) {
  store_part(p, __builtin_shufflevector(first, second, 0, 8, 1, 9, 2, 10, 3, 11), 2 * left);
  if (left > 4) store_part(p + 8, __builtin_shufflevector(first, second, 4, 12, 5, 13, 6, 14, 7, 15), 2 * left - 8);
}

// Gate and up of eight columns of a row: of neighbors, or of the row's halves; and back.
INLINE void load_gate_up(const float *row, long columns, long j, int halves, v8 *gate, v8 *up) {
  if (!halves) {
    load_pairs(row + 2 * j, columns - j, gate, up);
    return;
  }
  *gate = load_part(row + j, columns - j);
  *up = load_part(row + columns + j, columns - j);
}
INLINE void store_gate_up(float *row, long columns, long j, int halves, v8 gate, v8 up) {
  if (!halves) {
    store_pairs(row + 2 * j, columns - j, gate, up);
    return;
  }
  store_part(row + j, gate, columns - j);
  store_part(row + columns + j, up, columns - j);
}

static void clamped_swiglu(const float *gate_up, float *out, long columns, int halves, long begin, long end) {
  for (long row = begin; row < end; row++)
    for (long j = 0; j < columns; j += 8) {
      v8 gate, up;
      load_gate_up(gate_up + 2 * row * columns, columns, j, halves, &gate, &up);
      gate = min8(gate, splat8(7));
      up = max8(min8(up, splat8(7)), splat8(-7));
      store_part(out + row * columns + j, gate * sigmoid8(1.702f * gate) * (up + 1.0f), columns - j);
    }
}

static void clamped_swiglu_backward(
  const float *gate_up, const float *d_out, float *d_gate_up, long columns, int halves, long begin, long end) {
  for (long row = begin; row < end; row++)
    for (long j = 0; j < columns; j += 8) {
      v8 gate, up, d = load_part(d_out + row * columns + j, columns - j), zero = splat8(0);
      load_gate_up(gate_up + 2 * row * columns, columns, j, halves, &gate, &up);
      v8 g = min8(gate, splat8(7)), u = max8(min8(up, splat8(7)), splat8(-7)), s = sigmoid8(1.702f * g);
      v8 d_gate = d * (u + 1.0f) * (s + 1.702f * g * s * (1.0f - s)), d_up = d * g * s;
      store_gate_up(
        d_gate_up + 2 * row * columns, columns, j, halves, select8(gate > 7.0f, zero, d_gate),
        select8((up > 7.0f) | (up < -7.0f), zero, d_up));
    }
}

void CK(ck_gated)(const float *gate_up, float *out, long columns, int activation, long begin, long end) {
  if (activation >= 3) {
    clamped_swiglu(gate_up, out, columns, activation == 4, begin, end);
    return;
  }
  for (long row = begin; row < end; row++) {
    const float *gate = gate_up + row * 2 * columns, *up = gate + columns;
    float *y = out + row * columns;
    for (long j = 0; j < columns; j += 8) {
      long left = columns - j;
      store_part(y + j, activation8(load_part(gate + j, left), activation) * load_part(up + j, left), left);
    }
  }
}

void CK(ck_gated_backward)(
  const float *gate_up, const float *d_out, float *d_gate_up, long columns, int activation, long begin, long end) {
  if (activation >= 3) {
    clamped_swiglu_backward(gate_up, d_out, d_gate_up, columns, activation == 4, begin, end);
    return;
  }
  for (long row = begin; row < end; row++) {
    const float *gate = gate_up + row * 2 * columns, *up = gate + columns, *dy = d_out + row * columns;
    float *d_gate = d_gate_up + row * 2 * columns, *d_up = d_gate + columns;
    for (long j = 0; j < columns; j += 8) {
      long left = columns - j;
      v8 g = load_part(gate + j, left), d = load_part(dy + j, left);
      store_part(d_gate + j, d * load_part(up + j, left) * activation_slope8(g, activation), left);
      store_part(d_up + j, d * activation8(g, activation), left);
    }
  }
}

void CK(ck_add)(float *y, const float *x, float scale, long begin, long end) {
  for (long i = begin; i < end; i += 8)
    store_part(y + i, load_part(y + i, end - i) + load_part(x + i, end - i) * scale, end - i);
}

void CK(ck_scale)(float *y, const float *x, float scale, long begin, long end) {
  for (long i = begin; i < end; i += 8) store_part(y + i, load_part(x + i, end - i) * scale, end - i);
}

void CK(ck_add_bias)(float *y, long ldy, const float *bias, long columns, long begin, long end) {
  for (long row = begin; row < end; row++) CK(ck_add)(y + row * ldy, bias, 1, 0, columns);
}

void CK(ck_column_sums)(const float *dy, long lddy, long rows, float *d_bias, long begin, long end) {
  for (long j = begin; j < end; j += 8) {
    v8 sum = splat8(0);
    for (long row = 0; row < rows; row++) sum += load_part(dy + row * lddy + j, end - j);
    store_part(d_bias + j, load_part(d_bias + j, end - j) + sum, end - j);
  }
}

float CK(ck_dot)(const float *x, const float *y, long count) {
  v8 sum = splat8(0);
  for (long i = 0; i < count; i += 8) sum += load_part(x + i, count - i) * load_part(y + i, count - i);
  return sum_lanes8(sum);
}

double CK(ck_sum_of_squares)(const float *x, long count) {
  double sums[8] = {0};
  long i = 0;
  for (; i + 8 <= count; i += 8)
    for (int j = 0; j < 8; j++) sums[j] += (double)x[i + j] * x[i + j];
  for (; i < count; i++) sums[0] += (double)x[i] * x[i];
  return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

// SplitMix64 (Steele, Lea and Flood 2014) of key + index: a counter-based draw, independent of other elements.
INLINE uint32_t draw(uint64_t key, uint64_t index) {
  uint64_t z = key + (index + 1) * 0x9E3779B97F4A7C15ull;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ z >> 27) * 0x94D049BB133111EBull;
  return (uint32_t)((z ^ z >> 31) >> 40);
}

void CK(ck_dropout)(const float *x, float *out, float rate, uint64_t key, bool accumulate, long begin, long end) {
  uint32_t threshold = (uint32_t)(rate * 16777216.0f);
  float scale = 1 / (1 - rate);
  for (long i = begin; i < end; i++) {
    float value = draw(key, (uint64_t)i) >= threshold ? x[i] * scale : 0;
    out[i] = accumulate ? out[i] + value : value;
  }
}

void CK(ck_multiply)(
  const float *a, long lda, const float *b, long ldb, float *out, long ldo, bool accumulate, long columns, long begin,
  long end) {
  for (long row = begin; row < end; row++)
    for (long j = 0; j < columns; j += 8) {
      long left = columns - j;
      v8 product = load_part(a + row * lda + j, left) * load_part(b + row * ldb + j, left);
      if (accumulate) product += load_part(out + row * ldo + j, left);
      store_part(out + row * ldo + j, product, left);
    }
}

void CK(ck_convolution)(
  const float *x, long channels, const int32_t *taps, long length, const float *weight, const float *bias, float *out,
  long begin, long end) {
  for (long row = begin; row < end; row++)
    for (long j = 0; j < channels; j += 8) {
      long left = channels - j;
      v8 sum = bias ? load_part(bias + j, left) : splat8(0);
      for (long k = 0; k < length; k++) {
        long source = taps[row * length + k];
        if (source >= 0) sum += load_part(weight + k * channels + j, left) * load_part(x + source * channels + j, left);
      }
      store_part(out + row * channels + j, sum, left);
    }
}

void CK(ck_convolution_backward)(
  const float *x, long channels, const int32_t *taps, long length, const float *weight, const float *d_out, long rows,
  float *dx, float *d_weight, float *d_bias, long begin, long end) {
  for (long j = begin; j < end; j += 8) {
    long left = end - j;
    for (long row = 0; row < rows; row++) {
      v8 dy = load_part(d_out + row * channels + j, left);
      if (d_bias) store_part(d_bias + j, load_part(d_bias + j, left) + dy, left);
      for (long k = 0; k < length; k++) {
        long source = taps[row * length + k];
        if (source < 0) continue;
        float *to = dx + source * channels + j;
        store_part(to, load_part(to, left) + dy * load_part(weight + k * channels + j, left), left);
        if (!d_weight) continue;
        float *total = d_weight + k * channels + j;
        store_part(total, load_part(total, left) + dy * load_part(x + source * channels + j, left), left);
      }
    }
  }
}
