// float32 to storage formats, rounded exactly as the reference implementations round.
//
// NF4 and FP4: the same bits as bitsandbytes 0.50 on a CPU (`quantize_4bit`).

// Levels in ascending order: the midpoints between neighbors, and the codes.
typedef struct {
  float bounds[15];
  uint8_t codes[16];
} code_order;

static const code_order nf4_order = {
  {-0x1.b239bp-1f, -0x1.38a4ep-1f, -0x1.d709p-2f, -0x1.5bd4ecp-2f, -0x1.e079d8p-3f, -0x1.1a7178p-3f, -0x1.74f0e2p-5f,
   0x1.45f5fep-5f, 0x1.ec90c4p-4f, 0x1.a0cfcp-3f, 0x1.2b05a8p-2f, 0x1.8ea7f2p-2f, 0x1.00da08p-1f, 0x1.491b5ep-1f,
   0x1.b913b4p-1f},
  {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
};
static const code_order fp4_order = {
  {-0x1.aaaaacp-1f, -0x1.2aaaacp-1f, -0x1.aaaaacp-2f, -0x1.2aaaacp-2f, -0x1.aaaaacp-3f, -0x1.6p-4f, -0x1.555556p-9f,
   0.0f, 0x1.555556p-9f, 0x1.6p-4f, 0x1.aaaaacp-3f, 0x1.2aaaacp-2f, 0x1.aaaaacp-2f, 0x1.2aaaacp-1f, 0x1.aaaaacp-1f},
  {11, 10, 13, 12, 15, 14, 9, 0, 8, 1, 6, 7, 4, 5, 2, 3},
};

enum { longest_block = 4096 };

// The largest magnitude of `count` values (a multiple of 8); NaN if any is not finite.
INLINE float largest_magnitude(const float *x, long count) {
  v8 largest = splat8(0), nonfinite = splat8(0);
  for (long i = 0; i < count; i += 8) {
    v8 value = load8(x + i);
    largest = max8(largest, max8(value, -value));
    nonfinite += value - value;  // 0, unless infinite or NaN
  }
  return max_lane(largest) + sum_lanes8(nonfinite);
}

void CK(ck_quantize_4bit)(
  const ck_matrix *x, ck_format format, long block_size, uint8_t *codes, float *absmax, long block_begin,
  long block_end) {
  const code_order *order = format == ck_nf4 ? &nf4_order : &fp4_order;
  ck_matrix flat = *x;
  flat.rows = 1;
  flat.columns = x->rows * x->columns;
  for (long block = block_begin; block < block_end; block++) {
    float values[longest_block];
    long first = block * block_size;
    long count = flat.columns - first < block_size ? flat.columns - first : block_size, padded = (count + 7) / 8 * 8;
    CK(ck_dequantize)(&flat, 0, first, count, values);
    for (long i = count; i < padded; i++) values[i] = 0;
    float largest = largest_magnitude(values, padded), least = 1e-38f;
    // bitsandbytes multiplies full blocks by the reciprocal and divides a shorter last one.
    bool is_full = count == block_size;
    float divisor = largest < least ? least : largest, factor = 1 / divisor;
    absmax[block] = is_full ? largest : divisor;
    for (long i = 0; i < padded; i += 8) {
      v8 value = load8(values + i);
      value = is_full ? value * factor : value / divisor;
      value = min8(max8(value, splat8(-1)), splat8(1));
      i32x8 rank = (i32x8){} + 15;
      for (int j = 0; j < 15; j++) rank += value <= order->bounds[j];
      uint8_t *out = codes + (first + i) / 2;
      for (int j = 0; j < 8 && i + j < count; j += 2)
        out[j / 2] = (uint8_t)(order->codes[rank[j]] << 4 | order->codes[rank[j + 1]]);
    }
  }
}

// GGML's blocks of 32, rounded as in ggml-quants.c.
//
// q8_0: d, 32 signed bytes; d is the largest magnitude over 127.
void CK(ck_quantize_q8_0)(const float *x, uint8_t *out, long blocks) {
  for (long b = 0; b < blocks; b++, x += 32, out += 34) {
    float largest = 0;
    for (int j = 0; j < 32; j++) largest = fmaxf(largest, fabsf(x[j]));
    float d = largest / 127, inverse = d != 0 ? 1 / d : 0;
    _Float16 stored = (_Float16)d;
    memcpy(out, &stored, 2);
    for (int j = 0; j < 32; j++) out[2 + j] = (uint8_t)(int8_t)roundf(x[j] * inverse);
  }
}

// q4_0: d, 16 bytes of nibbles; the (first) element of largest magnitude becomes -8. Adding 8.5 and truncating are two
// separate float32 roundings: fused, or in double precision, some ties would round differently.
void CK(ck_quantize_q4_0)(const float *x, uint8_t *out, long blocks) {
#pragma STDC FP_CONTRACT OFF
  for (long b = 0; b < blocks; b++, x += 32, out += 18) {
    float largest = x[0];
    for (int j = 1; j < 32; j++) {
      if (fabsf(x[j]) > fabsf(largest)) largest = x[j];
    }
    float d = largest / -8, inverse = d != 0 ? 1 / d : 0;
    _Float16 stored = (_Float16)d;
    memcpy(out, &stored, 2);
    for (int j = 0; j < 16; j++) {
      float low = fminf(15, x[j] * inverse + 8.5f), high = fminf(15, x[j + 16] * inverse + 8.5f);
      out[2 + j] = (uint8_t)((uint8_t)low | (uint8_t)high << 4);
    }
  }
}

// MLX's affine codes: the same codes, scales and biases as mlx 0.32 on a CPU. One end of the group's range is met
// exactly. Codes are 4 or 8 bits, the first in the low nibble.
void CK(ck_quantize_affine)(
  const float *x, long bits, long group_size, uint8_t *codes, float *scales, float *biases, long group_begin,
  long group_end) {
#pragma STDC FP_CONTRACT OFF
  const float most = bits == 4 ? 15 : 255;
  for (long group = group_begin; group < group_end; group++) {
    const float *w = x + group * group_size;
    float low = w[0], high = w[0];
    for (long i = 1; i < group_size; i++) {
      low = w[i] < low ? w[i] : low;
      high = w[i] > high ? w[i] : high;
    }
    bool from_low = fabsf(low) > fabsf(high);
    float scale = (high - low) / most, edge = from_low ? low : high, bias = 0;
    scale = scale < 1e-7f ? 1e-7f : scale;
    if (!from_low) scale = -scale;
    float steps = rintf(edge / scale);
    if (steps != 0) {
      scale = edge / steps;
      bias = edge;
    }
    scales[group] = scale;
    biases[group] = bias;
    uint8_t *out = codes + group * group_size * bits / 8;
    for (long i = 0; i < group_size; i++) {
      float code = fminf(fmaxf(rintf((w[i] - bias) / scale), 0), most);
      if (bits == 8) out[i] = (uint8_t)code;
      else if (i % 2 == 0) out[i / 2] = (uint8_t)code;
      else out[i / 2] |= (uint8_t)((uint8_t)code << 4);
    }
  }
}
