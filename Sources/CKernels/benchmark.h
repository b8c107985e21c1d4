// Loops for `swiftlet bench`: upper bounds of what the machine can do.

// `rounds` times 96 multiply-adds of eight lanes in twelve independent chains. Returns a sum that keeps the work alive.
float CK(ck_multiply_adds)(long rounds, float x) {
  v8 sums[12];
  for (int i = 0; i < 12; i++) sums[i] = splat8(x + (float)i);
  v8 factor = splat8(0.999999f), term = splat8(1e-6f);
  for (long round = 0; round < rounds; round++)
#pragma clang loop unroll(full)
    for (int repeat = 0; repeat < 8; repeat++)
#pragma clang loop unroll(full)
      for (int i = 0; i < 12; i++) sums[i] = sums[i] * factor + term;
  float total = 0;
  for (int i = 0; i < 12; i++) total += sum_lanes8(sums[i]);
  return total;
}

// Reads `count` floats and returns their sum.
float CK(ck_read_all)(const float *x, long count) {
  v8 sums[8];
  for (int i = 0; i < 8; i++) sums[i] = splat8(0);
  for (long p = 0; p + 64 <= count; p += 64)
    for (int i = 0; i < 8; i++) sums[i] += load8(x + p + 8 * i);
  float total = 0;
  for (int i = 0; i < 8; i++) total += sum_lanes8(sums[i]);
  return total;
}
