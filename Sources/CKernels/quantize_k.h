// GGML's blocks of 256 elements, and q5_0, rounded as ggml-quants.c rounds without an importance matrix: the same
// bytes, so each sum is in its order, and nothing is fused.
#pragma STDC FP_CONTRACT OFF

enum { k_block = 256 };

// Rounded to nearest even, within bounds.
INLINE int rounded_code(float x, int least, int most) {
  int code = (int)rintf(x);
  return code < least ? least : code > most ? most : code;
}

INLINE void store_half(uint8_t *out, float x) {
  _Float16 half = (_Float16)x;
  memcpy(out, &half, 2);
}

// Elements are about scale * code - minimum, for codes from 0 to 15.
typedef struct {
  float scale, minimum;
} scale_and_offset;

// The weighted sum of squared errors.
INLINE float squared_error(const float *x, const float *weights, const uint8_t *codes, float scale, float least) {
  float error = 0;
  for (int i = 0; i < 32; i++) {
    float difference = scale * codes[i] + least - x[i];
    difference = difference * difference;
    error += weights[i] * difference;
  }
  return error;
}

// Scale and minimum of 32 elements. First those of the range; then, for codes with a step somewhat smaller or larger,
// the solution of the weighted least squares problem, if it is better than all before.
static scale_and_offset fit_32(const float *x, const float *weights, uint8_t *codes) {
  float least = x[0], most = x[0], sum_w = weights[0], sum_x = sum_w * x[0];
  for (int i = 1; i < 32; i++) {
    if (x[i] < least) least = x[i];
    if (x[i] > most) most = x[i];
    sum_w += weights[i];
    sum_x += weights[i] * x[i];
  }
  if (least > 0) least = 0;
  if (most == least) {
    memset(codes, 0, 32);
    return (scale_and_offset){0, -least};
  }
  float range = most - least, steps = 15 / range, scale = 1 / steps, best = least;
  for (int i = 0; i < 32; i++) codes[i] = (uint8_t)rounded_code(steps * (x[i] - least), 0, 15);
  float best_error = squared_error(x, weights, codes, scale, least);
  for (int attempt = 0; attempt <= 20; attempt++) {
    // As in the reference, codes are relative to the best minimum so far, and the range is that with it.
    steps = (-1.0f + 0.1f * attempt + 15) / (most - best);
    uint8_t tried[32];
    float sum_l = 0, sum_l2 = 0, sum_xl = 0;
    for (int i = 0; i < 32; i++) {
      int code = rounded_code(steps * (x[i] - best), 0, 15);
      tried[i] = (uint8_t)code;
      sum_l += weights[i] * code;
      sum_l2 += weights[i] * code * code;
      sum_xl += weights[i] * code * x[i];
    }
    float determinant = sum_w * sum_l2 - sum_l * sum_l;
    if (!(determinant > 0)) continue;
    float found_scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
    float found_least = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
    if (found_least > 0) {
      found_least = 0;
      found_scale = sum_xl / sum_l2;
    }
    float error = squared_error(x, weights, tried, found_scale, found_least);
    if (error < best_error) {
      memcpy(codes, tried, 32);
      best_error = error;
      scale = found_scale;
      best = found_least;
    }
  }
  return (scale_and_offset){scale, -best};
}

void CK(ck_quantize_q4_K)(const float *x, uint8_t *out, long blocks) {
  for (long b = 0; b < blocks; b++, x += k_block, out += 144) {
    uint8_t codes[k_block], scales[8], minimums[8];
    scale_and_offset fits[8];
    float largest_scale = 0, largest_minimum = 0;
    for (int j = 0; j < 8; j++) {
      const float *part = x + 32 * j;
      float weights[32], squares = 0;
      for (int i = 0; i < 32; i++) squares += part[i] * part[i];
      float mean = sqrtf(squares / 32);
      for (int i = 0; i < 32; i++) weights[i] = mean + fabsf(part[i]);
      fits[j] = fit_32(part, weights, codes + 32 * j);
      if (fits[j].scale > largest_scale) largest_scale = fits[j].scale;
      if (fits[j].minimum > largest_minimum) largest_minimum = fits[j].minimum;
    }
    float per_scale = largest_scale > 0 ? 63.0f / largest_scale : 0;
    float per_minimum = largest_minimum > 0 ? 63.0f / largest_minimum : 0;
    for (int j = 0; j < 8; j++) {
      scales[j] = (uint8_t)rounded_code(per_scale * fits[j].scale, 0, 63);
      minimums[j] = (uint8_t)rounded_code(per_minimum * fits[j].minimum, 0, 63);
    }
    store_half(out, largest_scale / 63.0f);
    store_half(out + 2, largest_minimum / 63.0f);
    uint8_t *packed = out + 4;
    for (int j = 0; j < 4; j++) {
      packed[j] = (uint8_t)(scales[j] | scales[j + 4] >> 4 << 6);
      packed[j + 4] = (uint8_t)(minimums[j] | minimums[j + 4] >> 4 << 6);
      packed[j + 8] = (uint8_t)((scales[j + 4] & 15) | (minimums[j + 4] & 15) << 4);
    }
    // The codes once more, for the scales and minimums as stored.
    for (int j = 0; j < 8; j++) {
      float scale = load_half(out) * scales[j], minimum = load_half(out + 2) * minimums[j];
      if (scale == 0) continue;
      for (int i = 32 * j; i < 32 * j + 32; i++) codes[i] = (uint8_t)rounded_code((x[i] + minimum) / scale, 0, 15);
    }
    for (int j = 0; j < 4; j++)
      for (int i = 0; i < 32; i++) out[16 + 32 * j + i] = (uint8_t)(codes[64 * j + i] | codes[64 * j + 32 + i] << 4);
  }
}

// The scale of 16 elements with codes from -32 to 31: the element of largest magnitude becomes about -32, and then
// steps somewhat smaller and larger are tried, each with the scale that least squares gives it.
static float fit_16(const float *x, int8_t *codes) {
  float largest = 0;
  for (int i = 0; i < 16; i++)
    if (fabsf(x[i]) > fabsf(largest)) largest = x[i];
  if (fabsf(largest) < 1e-15f) {
    memset(codes, -32, 16);
    return 0;
  }
  float scale = 0, best = 0;
  for (int attempt = -1; attempt <= 18; attempt++) {
    int shift = attempt < 0 ? 0 : attempt - 9;
    if (attempt >= 0 && shift == 0) continue;
    float steps = attempt < 0 ? -32 / largest : -(32 + 0.1f * shift) / largest, sum_xl = 0, sum_l2 = 0;
    int8_t tried[16];
    for (int i = 0; i < 16; i++) {
      int code = rounded_code(steps * x[i], -32, 31);
      float weight = x[i] * x[i];
      tried[i] = (int8_t)code;
      sum_xl += weight * x[i] * code;
      sum_l2 += weight * code * code;
    }
    bool is_better = attempt < 0 || (sum_l2 > 0 && sum_xl * sum_xl > best * sum_l2);
    if (!is_better) continue;
    memcpy(codes, tried, 16);
    scale = sum_l2 != 0 ? sum_xl / sum_l2 : 0;
    best = scale * sum_xl;
  }
  return scale;
}

void CK(ck_quantize_q6_K)(const float *x, uint8_t *out, long blocks) {
  for (long b = 0; b < blocks; b++, x += k_block, out += 210) {
    int8_t codes[k_block];
    float scales[16], largest = 0;
    for (int j = 0; j < 16; j++) {
      scales[j] = fit_16(x + 16 * j, codes + 16 * j);
      if (fabsf(scales[j]) > fabsf(largest)) largest = scales[j];
    }
    memset(out, 0, 210);
    if (fabsf(largest) < 1e-15f) continue;
    float steps = -128.0f / largest;
    store_half(out + 208, 1 / steps);
    for (int j = 0; j < 16; j++) {
      int8_t stored = (int8_t)rounded_code(steps * scales[j], -128, 127);
      out[192 + j] = (uint8_t)stored;
      float scale = load_half(out + 208) * stored;
      if (scale == 0) continue;
      for (int i = 16 * j; i < 16 * j + 16; i++) codes[i] = (int8_t)rounded_code(x[i] / scale, -32, 31);
    }
    for (int half = 0; half < 2; half++) {
      for (int i = 0; i < 32; i++) {
        uint8_t c[4];
        for (int j = 0; j < 4; j++) c[j] = (uint8_t)(codes[128 * half + 32 * j + i] + 32);
        out[64 * half + i] = (uint8_t)((c[0] & 15) | (c[2] & 15) << 4);
        out[64 * half + 32 + i] = (uint8_t)((c[1] & 15) | (c[3] & 15) << 4);
        out[128 + 32 * half + i] = (uint8_t)(c[0] >> 4 | c[1] >> 4 << 2 | c[2] >> 4 << 4 | c[3] >> 4 << 6);
      }
    }
  }
}

// q5_0: d, fifth bits, nibbles; the (first) element of largest magnitude becomes -16.
void CK(ck_quantize_q5_0)(const float *x, uint8_t *out, long blocks) {
  for (long b = 0; b < blocks; b++, x += 32, out += 22) {
    float largest = 0;
    for (int j = 0; j < 32; j++)
      if (fabsf(x[j]) > fabsf(largest)) largest = x[j];
    float d = largest / -16, inverse = d != 0 ? 1 / d : 0;
    uint32_t fifth = 0;
    store_half(out, d);
    for (int j = 0; j < 16; j++) {
      int low = (int8_t)(x[j] * inverse + 16.5f), high = (int8_t)(x[j + 16] * inverse + 16.5f);
      if (low > 31) low = 31;
      if (high > 31) high = 31;
      out[6 + j] = (uint8_t)((low & 15) | (high & 15) << 4);
      fifth |= (uint32_t)(low >> 4 & 1) << j | (uint32_t)(high >> 4 & 1) << (j + 16);
    }
    memcpy(out + 2, &fifth, 4);
  }
}
