// float32 to GGML's blocks of 32 elements, as its reference quantizers (ggml-quants.c) round.

// d, 32 signed bytes: d is the largest magnitude over 127.
void CK(ck_narrow_q8_0)(const float *x, uint8_t *out, long blocks) {
  for (long b = 0; b < blocks; b++, x += 32, out += 34) {
    float largest = 0;
    for (int j = 0; j < 32; j++) largest = fmaxf(largest, fabsf(x[j]));
    float d = largest / 127, inverse = d != 0 ? 1 / d : 0;
    _Float16 stored = (_Float16)d;
    memcpy(out, &stored, 2);
    for (int j = 0; j < 32; j++) out[2 + j] = (uint8_t)(int8_t)roundf(x[j] * inverse);
  }
}

// d, 16 bytes of nibbles: the element of the largest magnitude, the first of several, becomes -8. Then 8.5 is added and
// the rest cut off; in double precision, as the gguf package does it, so that no processor's way to round decides ties.
void CK(ck_narrow_q4_0)(const float *x, uint8_t *out, long blocks) {
  for (long b = 0; b < blocks; b++, x += 32, out += 18) {
    float largest = 0;
    for (int j = 0; j < 32; j++) {
      if (fabsf(x[j]) > fabsf(largest)) largest = x[j];
    }
    float d = largest / -8, inverse = d != 0 ? 1 / d : 0;
    _Float16 stored = (_Float16)d;
    memcpy(out, &stored, 2);
    for (int j = 0; j < 16; j++) {
      double low = fmin(15, (double)x[j] * inverse + 8.5), high = fmin(15, (double)x[j + 16] * inverse + 8.5);
      out[2 + j] = (uint8_t)((uint8_t)low | (uint8_t)high << 4);
    }
  }
}
