// Loops for `swiftlet bench`: upper bounds of what the machine can do.

// `rounds` times 768 multiply-adds, in twelve independent chains of the widest vectors. Returns a sum that keeps the
// work alive.
float CK(ck_multiply_adds)(long rounds, float x) {
  lanes sums[12];
  for (int i = 0; i < 12; i++) sums[i] = splat(x + (float)i);
  lanes factor = splat(0.999999f), term = splat(1e-6f);
  for (long round = 0; round < rounds; round++)
#pragma clang loop unroll(full)
    for (int repeat = 0; repeat < 64 / LANES; repeat++)
#pragma clang loop unroll(full)
      for (int i = 0; i < 12; i++) sums[i] = sums[i] * factor + term;
  float total = 0;
  for (int i = 0; i < 12; i++)
    for (int lane = 0; lane < LANES; lane++) total += sums[i][lane];
  return total;
}

// Reads `count` floats, the way that is fastest on this processor, and returns their sum.
float CK(ck_read_all)(const float *x, long count) {
  v8 sums[8];
  for (int i = 0; i < 8; i++) sums[i] = splat8(0);
  for (long p = 0; p + 64 <= count; p += 64) {
    for (int line = 0; ck_is_intel && line < 4; line++) __builtin_prefetch(x + p + 1024 + 16 * line);
    for (int i = 0; i < 8; i++) sums[i] += load8(x + p + 8 * i);
  }
  float total = 0;
  for (int i = 0; i < 8; i++) total += sum_lanes8(sums[i]);
  return total;
}
