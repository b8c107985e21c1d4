// Optimizer update rules, per element or per block of 256. Each first multiplies the gradient by `gradient_scale`.

// AdamW as in torch: weight decay first, then the bias-corrected step.
INLINE void adamw_elements(
  float *weight, const float *gradient, float *m, float *v, const ck_adamw_step *s, long begin, long end) {
  float step = s->learning_rate / s->correction1, root = sqrtf(s->correction2);
  float keep = 1 - s->learning_rate * s->weight_decay;
  for (long i = begin; i < end; i += 8) {
    v8 g = load_part(gradient + i, end - i) * s->gradient_scale;
    v8 first = load_part(m + i, end - i), second = load_part(v + i, end - i), w = load_part(weight + i, end - i);
    first = first + s->rest1 * (g - first);
    second = second * s->beta2 + s->rest2 * g * g;
    w = w * keep - step * first / (sqrt8(second) / root + s->epsilon);
    store_part(m + i, first, end - i);
    store_part(v + i, second, end - i);
    store_part(weight + i, w, end - i);
  }
}

// Lion: steps by the sign of an interpolation between moment and gradient.
INLINE void lion_elements(float *weight, const float *gradient, float *m, const ck_lion_step *s, long begin, long end) {
  float keep = 1 - s->learning_rate * s->weight_decay;
  for (long i = begin; i < end; i++) {
    float g = gradient[i] * s->gradient_scale;
    float mixed = m[i] * s->beta1 + s->rest1 * g;
    weight[i] = weight[i] * keep - s->learning_rate * (float)((mixed > 0) - (mixed < 0));
    m[i] = m[i] * s->beta2 + s->rest2 * g;
  }
}

void CK(ck_adamw)(
  float *weight, const float *gradient, float *m, float *v, const ck_adamw_step *step, long begin, long end) {
  adamw_elements(weight, gradient, m, v, step, begin, end);
}

void CK(ck_lion)(float *weight, const float *gradient, float *m, const ck_lion_step *step, long begin, long end) {
  lion_elements(weight, gradient, m, step, begin, end);
}

INLINE void decode_block(const ck_moment_8bit *moment, long begin, long count, float *out) {
  float absmax = moment->absmax[begin / ck_moment_block];
  for (long i = 0; i < count; i++) out[i] = moment->map.values[moment->codes[begin + i]] * absmax;
}

// Encodes to the nearest level. A table indexed by the upper 16 bits of a value gives the largest level it is certain
// to reach; one comparison decides about the next, since no two boundaries share their upper 16 bits.
INLINE void encode_block(ck_moment_8bit *moment, long begin, long count, const float *x) {
  v8 largest = splat8(0);
  for (long i = 0; i < count; i += 8) {
    v8 value = load_part(x + i, count - i);
    largest = max8(largest, max8(value, -value));
  }
  float absmax = max_lane(largest);
  moment->absmax[begin / ck_moment_block] = absmax;
  float divisor = absmax > 0 ? absmax : 1;
  for (long i = 0; i < count; i++) {
    float value = x[i] / divisor;
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    int code = moment->map.first[bits >> 16];
    moment->codes[begin + i] = (uint8_t)(code + (value > moment->map.boundaries[code]));
  }
}

void CK(ck_adamw_8bit)(
  float *weight, const float *gradient, ck_moment_8bit *m, ck_moment_8bit *v, const ck_adamw_step *step, long count,
  long block_begin, long block_end) {
  float first[ck_moment_block], second[ck_moment_block];
  for (long block = block_begin; block < block_end; block++) {
    long begin = block * ck_moment_block, n = count - begin < ck_moment_block ? count - begin : ck_moment_block;
    decode_block(m, begin, n, first);
    decode_block(v, begin, n, second);
    adamw_elements(weight + begin, gradient + begin, first, second, step, 0, n);
    encode_block(m, begin, n, first);
    encode_block(v, begin, n, second);
  }
}

void CK(ck_lion_8bit)(
  float *weight, const float *gradient, ck_moment_8bit *m, const ck_lion_step *step, long count, long block_begin,
  long block_end) {
  float first[ck_moment_block];
  for (long block = block_begin; block < block_end; block++) {
    long begin = block * ck_moment_block, n = count - begin < ck_moment_block ? count - begin : ck_moment_block;
    decode_block(m, begin, n, first);
    lion_elements(weight + begin, gradient + begin, first, step, 0, n);
    encode_block(m, begin, n, first);
  }
}

// SGD as in torch: weight decay is added to the gradient; the momentum buffer starts as the first gradient.
void CK(ck_sgd)(float *weight, const float *gradient, float *buffer, const ck_sgd_step *s, long begin, long end) {
  for (long i = begin; i < end; i++) {
    float g = gradient[i] * s->gradient_scale + s->weight_decay * weight[i];
    if (buffer) {
      buffer[i] = s->is_first ? g : s->momentum * buffer[i] + (1 - s->dampening) * g;
      g = s->nesterov ? g + s->momentum * buffer[i] : buffer[i];
    }
    weight[i] -= s->learning_rate * g;
  }
}

// Adafactor's running means of squared gradients: per row, per column, or per element of a vector.
void CK(ck_adafactor_rows)(
  const float *gradient, float *means, long columns, float scale, float epsilon, float decay, long begin, long end) {
  for (long row = begin; row < end; row++) {
    v8 sum = splat8(0);
    for (long j = 0; j < columns; j += 8) {
      v8 g = load_part(gradient + row * columns + j, columns - j) * scale;
      sum += g * g;
    }
    means[row] = means[row] * decay + (1 - decay) * (sum_lanes8(sum) / (float)columns + epsilon);
  }
}

void CK(ck_adafactor_columns)(
  const float *gradient, float *means, long rows, long columns, float scale, float epsilon, float decay, long begin,
  long end) {
  for (long j = begin; j < end; j += 8) {
    v8 sum = splat8(0);
    for (long row = 0; row < rows; row++) {
      v8 g = load_part(gradient + row * columns + j, end - j) * scale;
      sum += g * g;
    }
    v8 mean = load_part(means + j, end - j);
    store_part(means + j, mean * decay + (1 - decay) * (sum / (float)rows + epsilon), end - j);
  }
}

void CK(ck_adafactor_vector)(
  float *gradient, float *squares, float scale, float epsilon, float decay, long begin, long end) {
  for (long i = begin; i < end; i += 8) {
    v8 g = load_part(gradient + i, end - i) * scale;
    v8 square = load_part(squares + i, end - i) * decay + (1 - decay) * (g * g + epsilon);
    store_part(squares + i, square, end - i);
    store_part(gradient + i, g / sqrt8(square), end - i);
  }
}

// gradient *= scale / sqrt(row mean * column mean / mean of row means)
void CK(ck_adafactor_divide)(
  float *gradient, const float *row_means, const float *column_means, float mean, long columns, float scale, long begin,
  long end) {
  for (long row = begin; row < end; row++) {
    float factor = scale / sqrtf(row_means[row] / mean);
    float *g = gradient + row * columns;
    for (long j = 0; j < columns; j += 8) {
      v8 root = sqrt8(load_part(column_means + j, columns - j));
      store_part(g + j, load_part(g + j, columns - j) * factor / root, columns - j);
    }
  }
}
